//! What the reader's test sends: something for every kind of column, and what fits none.

use super::column::place;

/// splitmix64 of a number.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a syslog server is sent: every kind of column is for something in here.
pub(super) fn syslog_lines(round: u64) -> Vec<Vec<u8>> {
    let line = |n: u64| {
        let (hash, second, minute, ms) = (mix(n ^ round << 40), n % 60, n / 60 % 60, n % 1000);
        let trace = format!("{:08x}-{:04x}-4000-8000-{:012x}", hash >> 32, n, hash & 0xffff_ffff);
        let client = hash % 37;
        match n % 9 {
            0 => format!(
                "<34>1 2026-03-01T09:{minute:02}:{second:02}.{ms:03}Z web-{} nginx {} - - took {}.{:02} ms id={hash:016x} client=10.0.0.{client} agent=\"agent of {client} version {}\"",
                n % 4,
                n % 900,
                hash % 50,
                hash % 97,
                client * 7919 % 100
            ),
            1 => format!(
                "<13>Mar  1 09:{minute:02}:{second:02} db-1 postgres[{}]: [{}-1] LOG:  duration: {} ms",
                n % 5,
                70_000 + n / 9 / 5 * (1 + n % 5),
                hash % 90_000
            ),
            2 => format!(
                "<13>Mar  1 09:{minute:02}:{second:02} db-1 cron: job 00{:03} 調べ done",
                n % 50
            ),
            3 => format!(
                "<14>1 2026-03-01T09:{minute:02}:{second:02}Z app-{} shop - - - {{\"user\":\"u{}\",\"ms\":{}.50,\"trace\":\"{trace}\",\"big\":18446744073709551615}}",
                n % 3,
                hash % 700,
                hash % 1000
            ),
            4 => format!(
                "<14>1 - - - - - - 10.0.0.{client} - - [01/Mar/2026:09:{minute:02}:{second:02} +0900] \"GET /a/{} HTTP/1.1\" 200 {}",
                hash % 40,
                hash % 9_999_999
            ),
            5 => format!(
                "<15>1 2026-03-01T09:{minute:02}:{second:02},{ms:03} h{} a - - - at 2026-03-01 09:{minute:02}:{second:02}.{ms:03} h{0} said {:08X}",
                n % 9,
                hash >> 32
            ),
            6 => format!(
                "no header, number {n} with an odd   space, -0, 007 and {:e}",
                n.wrapping_mul(hash)
            ),
            7 => format!(
                "<{}>1 2026-03-01T10:00:00Z h{} app-{} - - [x@1 k=\"{}\" k=\"{n}\" u=\"x\"] ratio={}.5e-3 zone=z{} {}",
                hash % 192,
                n % 9,
                hash % 6,
                n % 3,
                hash % 91,
                hash % 6,
                "x".repeat(place(hash % 30))
            ),
            _ => format!(
                "<190>{n}: Mar  1 2026 09:{minute:02}:{second:02}: %SYS-5-CONFIG: slot {} rose to {}",
                n % 7,
                1_772_355_600_000 + n * 977
            ),
        }
    };
    let mut lines: Vec<Vec<u8>> = (0..2_400).map(|n| line(n).into_bytes()).collect();
    lines.extend(
        [
            &b"<13>caf\xe9 \xff\xfe"[..],
            b"{",
            b"}",
            b"\x01 a\x02b",
            b"<999>x",
            b"=",
            "調".repeat(9_000).as_bytes(),
        ]
        .map(<[u8]>::to_vec),
    );
    lines
}

/// Objects: flat and deep, alike and each with a key of its own.
pub(super) fn objects(round: u64) -> Vec<Vec<u8>> {
    let object = |n: u64| {
        let hash = mix(n ^ round << 50);
        match n % 4 {
            0 => format!(
                r#"{{"time":"2026-03-01T09:00:{:02}.{:06}Z","host":"api-{}","level":"info","msg":"user {} paid {}.{:02}","dur":{}.5e-3,"ok":{},"none":null,"list":["a{}",{n},-0.0],"deep":{{"a":{{"b":"{hash:x}"}},"e":{{}}}}}}"#,
                n % 60,
                hash % 1_000_000,
                n % 5,
                hash % 90,
                hash % 1000,
                n % 100,
                hash % 977,
                n.is_multiple_of(3),
                n % 6
            ),
            1 => format!(
                r#"{{"k{hash}":"v\n{n}","log":"m{n} \u8abf\u3079","same":1,"same":{{"x":[{{"y": 2 }}, "a\tb"]}}}}"#
            ),
            2 => format!(
                r#"{{ "message" : "q{} said \"\u0000{:x}\"" , "status":{},"size":{},"id":"{hash:016x}","big":{}}}"#,
                n % 9,
                hash >> 20,
                200 + n % 3,
                hash % 100_000,
                u64::MAX - n
            ),
            _ => format!(
                r#"{{"app":"shop","msg":"in {{\"inner\":{{\"n\":{n},\"t\":\"x\\ny{}\\u0000\",\"f\":[1,2.5e7,null]}}}}","":0,"a.b":{}}}"#,
                n % 8,
                hash.cast_signed()
            ),
        }
    };
    (0..1_200).map(|n| object(n).into_bytes()).collect()
}

/// Records with keys of their own, more than there may be shapes: objects, and lines of syslog.
pub(super) fn own_keys() -> [Vec<Vec<u8>>; 2] {
    let object = |n: u64| format!(r#"{{"k{n}":{n},"msg":"m{n}"}}"#).into_bytes();
    let bare = |n: u64| format!(r#"{{"b{n}":{n}.5}}"#).into_bytes();
    let line =
        |n: u64| format!("<13>1 - h a - - [x@1 s{n}=\"{n}\" s{n}=\"again\"] done").into_bytes();
    [(0..12_000).flat_map(|n| [object(n), bare(n)]).collect(), (0..2_000).map(line).collect()]
}
