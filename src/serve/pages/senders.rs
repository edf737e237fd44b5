//! How to send the first line: snippets with the addresses that this server really has. They are
//! the files of `ingest-config/` with the addresses put in, and two commands for the shell.

use std::net::{IpAddr, SocketAddr};

use crate::config::Bound;

use super::words::Lang;

/// A text to copy.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// Where it goes.
    pub(super) file: &'static str,
    pub(super) text: String,
}

/// A way in.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) what: String,
    pub(super) address: String,
    pub(super) note: &'static str,
}

/// What a sender is told: `host` and `port`.
struct Target {
    host: String,
    port: u16,
}

/// How a reader reached us, which is what senders can reach too where we listen on every address.
pub(super) struct Reach<'a> {
    /// Our own HTTP address.
    pub(super) http: SocketAddr,
    /// `Host` of the request.
    pub(super) host: Option<&'a str>,
    /// A token is asked for.
    pub(super) guarded: bool,
}

impl Target {
    /// The host where no port follows.
    fn bare(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// A file of `ingest-config/` with this address in it.
    fn put_into(&self, file: &str) -> String {
        let port = self.port.to_string();
        let mut text = file.trim_end().to_owned();
        for default in ["5514", "24224"] {
            text = text
                .replace(&format!("127.0.0.1:{default}"), &format!("{}:{port}", self.host))
                .replace(default, &port);
        }
        text.replace("127.0.0.1", self.bare())
    }
}

/// A file of `ingest-config/`, which the tests run against the real programs.
struct File {
    id: &'static str,
    name: &'static str,
    goes_to: &'static str,
    /// Protocol and transport of the listener that it sends to.
    takes: (&'static str, &'static str),
    text: &'static str,
}

const FILES: [File; 6] = [
    File {
        id: "rsyslog",
        name: "rsyslog",
        goes_to: "/etc/rsyslog.d/60-shirabe.conf",
        takes: ("syslog", "tcp"),
        text: include_str!("../../../ingest-config/rsyslog.conf"),
    },
    File {
        id: "rsyslog-udp",
        name: "rsyslog",
        goes_to: "/etc/rsyslog.d/60-shirabe.conf",
        takes: ("syslog", "udp"),
        text: include_str!("../../../ingest-config/rsyslog-udp.conf"),
    },
    File {
        id: "syslog-ng",
        name: "syslog-ng",
        goes_to: "/etc/syslog-ng/conf.d/shirabe.conf",
        takes: ("syslog", "tcp"),
        text: include_str!("../../../ingest-config/syslog-ng.conf"),
    },
    File {
        id: "fluent-bit",
        name: "fluent-bit",
        goes_to: "/etc/fluent-bit/fluent-bit.yaml",
        takes: ("forward", "tcp"),
        text: include_str!("../../../ingest-config/fluent-bit.yaml"),
    },
    File {
        id: "docker",
        name: "Docker (fluentd)",
        goes_to: "/etc/docker/daemon.json",
        takes: ("forward", "tcp"),
        text: include_str!("../../../ingest-config/docker-fluentd.json"),
    },
    File {
        id: "docker-syslog",
        name: "Docker (syslog)",
        goes_to: "/etc/docker/daemon.json",
        takes: ("syslog", "tcp"),
        text: include_str!("../../../ingest-config/docker-syslog.json"),
    },
];

impl Reach<'_> {
    fn of(&self, address: SocketAddr) -> Target {
        let host = if address.ip().is_unspecified() {
            self.name().unwrap_or_else(|| "127.0.0.1".to_owned())
        } else {
            bracketed(address.ip())
        };
        Target { host, port: address.port() }
    }

    /// The name in the request's `Host`, without its port.
    fn name(&self) -> Option<String> {
        let host = self.host?;
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':');
        (!name.is_empty() && name.chars().all(fits)).then(|| name.to_owned())
    }
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Do all ways in take lines from this machine only?
pub(super) fn near(bound: &[Bound]) -> bool {
    bound.iter().all(|b| b.address.ip().is_loopback())
}

/// Every way in, HTTP last.
pub(super) fn places(bound: &[Bound], reach: &Reach<'_>, l: Lang) -> Vec<Place> {
    let mut places: Vec<Place> = bound
        .iter()
        .map(|b| Place {
            what: format!("{} {}", b.protocol, b.transport),
            address: b.address.to_string(),
            note: match (&*b.protocol, &*b.transport) {
                ("syslog", "udp") => l.t("RFC 5424 and RFC 3164", "RFC 5424 と RFC 3164"),
                ("syslog", _) => l.t(
                    "RFC 5424 and RFC 3164, octet-counted or by line",
                    "RFC 5424 と RFC 3164、オクテット数または行区切り",
                ),
                ("forward", "udp") => l.t("heartbeats", "ハートビート"),
                ("forward", _) => "fluentd, fluent-bit, Docker",
                _ => "",
            },
        })
        .collect();
    places.push(Place {
        what: "http".to_owned(),
        address: reach.http.to_string(),
        note: l.t(
            "POST /api/v1/ingest: JSON lines or text",
            "POST /api/v1/ingest: JSON 行またはテキスト",
        ),
    });
    places
}

/// Shortest first.
pub(super) fn snippets(bound: &[Bound], reach: &Reach<'_>) -> Vec<Snippet> {
    let find = |protocol: &str, transport: &str| {
        let found = bound.iter().find(|b| b.protocol == protocol && b.transport == transport);
        found.map(|b| reach.of(b.address))
    };
    let mut out = Vec::new();
    let mut add = |id, name, file, text| out.push(Snippet { id, name, file, text });

    let syslog = find("syslog", "tcp");
    let datagrams = find("syslog", "udp");
    let forward = find("forward", "tcp");
    if let Some(target) = syslog.as_ref().or(datagrams.as_ref()) {
        let way = if syslog.is_some() { "-T" } else { "-d" };
        let (host, port) = (target.bare(), target.port);
        let text = format!("logger -n {host} -P {port} {way} --rfc5424 \"hello 調べ\"");
        add("logger", "logger", "", text);
    }
    let Target { host, port } = reach.of(reach.http);
    let token = if reach.guarded { "  -H \"Authorization: Bearer $TOKEN\" \\\n" } else { "" };
    let line = r#"{"app":"hello","level":"info","message":"hello 調べ"}"#;
    add(
        "curl",
        "curl",
        "",
        format!(
            "curl http://{host}:{port}/api/v1/ingest \\\n{token}  \
         -H 'Content-Type: application/x-ndjson' \\\n  --data-binary '{line}'"
        ),
    );
    for file in FILES {
        let target = match file.takes {
            ("syslog", "tcp") => &syslog,
            // Only where nothing better is there.
            ("syslog", _) if syslog.is_none() => &datagrams,
            ("forward", _) => &forward,
            _ => &None,
        };
        if let Some(target) = target {
            add(file.id, file.name, file.goes_to, target.put_into(file.text));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(protocol: &str, transport: &str, address: &str) -> Bound {
        Bound {
            name: protocol.into(),
            protocol: protocol.into(),
            transport: transport.into(),
            address: address.parse().unwrap(),
        }
    }

    #[test]
    fn snippets_bear_the_bound_addresses() {
        let all = [
            bound("syslog", "udp", "127.0.0.1:40001"),
            bound("syslog", "tcp", "127.0.0.1:40001"),
            bound("forward", "tcp", "[::1]:40002"),
        ];
        let reach = Reach { http: "127.0.0.1:40003".parse().unwrap(), host: None, guarded: false };
        let texts = snippets(&all, &reach);
        let ids: Vec<&str> = texts.iter().map(|s| s.id).collect();
        assert_eq!(
            ids,
            ["logger", "curl", "rsyslog", "syslog-ng", "fluent-bit", "docker", "docker-syslog"]
        );
        let text = |id: &str| texts.iter().find(|s| s.id == id).unwrap().text.as_str();
        assert!(text("logger").contains("-n 127.0.0.1 -P 40001 -T"));
        assert!(text("curl").contains("http://127.0.0.1:40003/api/v1/ingest"));
        assert!(text("fluent-bit").contains("host: ::1\n      port: 40002"));
        assert!(text("docker").contains("\"[::1]:40002\""));
        assert!(text("docker").contains("\"docker.{{.Name}}\""));
        assert!(near(&all));
    }

    #[test]
    fn the_name_that_the_reader_used_stands_for_every_address() {
        let all = [bound("syslog", "tcp", "0.0.0.0:5514")];
        for (host, want) in [
            (Some("logs.example.com:8514"), "-n logs.example.com "),
            (Some("[::1]:8514"), "-n ::1 "),
            (Some("bad name\"; rm"), "-n 127.0.0.1 "),
            (None, "-n 127.0.0.1 "),
        ] {
            let reach = Reach { http: "0.0.0.0:8514".parse().unwrap(), host, guarded: true };
            let texts = snippets(&all, &reach);
            assert!(texts[0].text.contains(want), "{}", texts[0].text);
            assert!(texts[1].text.contains("Bearer $TOKEN"));
        }
        assert!(!near(&all));
    }
}
