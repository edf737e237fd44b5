//! The story that `demo` tells: a small web shop, second by second.
//!
//! A pure function of the second, so that the half hour before the start and the live stream are
//! one story. Every [`CYCLE_S`] seconds a release goes wrong and is rolled back: errors with stack
//! traces, slow pages, then quiet again. All texts were written for this project; addresses are
//! from the documentation ranges (RFC 5737), names from `example` domains (RFC 2606).

use crate::base::record::Severity;

/// Length of one round of the story, seconds.
pub(super) const CYCLE_S: i64 = 900;
/// Second of the round at which the bad release is out.
const DEPLOY_S: i64 = 420;
/// Second at which it has been rolled back.
const ROLLBACK_S: i64 = 540;

/// One line of the story.
pub(super) struct Line {
    /// Nanoseconds within the second.
    pub(super) nanos: u32,
    pub(super) host: String,
    pub(super) app: &'static str,
    /// Syslog facility code.
    pub(super) facility: u8,
    pub(super) severity: Severity,
    pub(super) pid: Option<u32>,
    pub(super) message: String,
}

/// A small generator (splitmix64): no need for more, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }
    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
    fn pick<T: Copy>(&mut self, of: &[T], default: T) -> T {
        let n = self.below(of.len() as u64);
        usize::try_from(n).ok().and_then(|n| of.get(n)).copied().unwrap_or(default)
    }
}

const PATHS: &[&str] = &[
    "/",
    "/",
    "/items",
    "/items?sort=new",
    "/items/2041",
    "/items/3187",
    "/items/5520",
    "/search?q=tea",
    "/search?q=%E8%8C%B6%E7%A2%97",
    "/cart",
    "/cart/add",
    "/checkout",
    "/api/v1/stock/2041",
    "/login",
    "/static/app.9f1c2e.js",
    "/static/site.41d0aa.css",
    "/favicon.ico",
];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/142.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_2) Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64) Chrome/143.0",
    "ExampleBot/2.1 (+https://bot.example/about)",
];
const USERS: &[&str] = &["hanako", "taro", "ann", "bob", "carla", "dmitri", "mei", "yusuf"];
const INTRUDERS: &[&str] = &["root", "admin", "oracle", "test", "ubuntu", "git"];
const BATCHES: &[&str] = &["在庫同期", "請求書作成", "ポイント集計", "メール配信"];

/// All lines of one second (Unix time), in the order of their nanoseconds.
pub(super) fn second(at: i64) -> Vec<Line> {
    let mut dice = Dice(at.cast_unsigned().wrapping_mul(0x2545_F491_4F6C_DD1D));
    let round = at.rem_euclid(CYCLE_S);
    let broken = (DEPLOY_S..ROLLBACK_S).contains(&round);
    let mut lines = Vec::new();
    // The shop has its quiet and busy minutes.
    let busy = 3 + (round / 60 % 5).unsigned_abs();
    for _ in 0..2 + dice.below(busy) {
        request(&mut dice, broken, &mut lines);
    }
    if dice.chance(60) {
        ssh(&mut dice, &mut lines);
    }
    if dice.chance(90) {
        database(&mut dice, broken, &mut lines);
    }
    if round % 60 == 0 {
        cron(at, &mut dice, &mut lines);
    }
    deploy(round, &mut lines);
    lines.sort_by_key(|line| line.nanos);
    lines
}

fn line(
    dice: &mut Dice,
    host: impl Into<String>,
    app: &'static str,
    facility: u8,
    severity: Severity,
    pid: Option<u32>,
    message: String,
) -> Line {
    let nanos = u32::try_from(dice.below(1_000_000) * 1_000).unwrap_or(0);
    Line { nanos, host: host.into(), app, facility, severity, pid, message }
}

fn client(dice: &mut Dice) -> String {
    let net = dice.pick(&["192.0.2", "198.51.100", "203.0.113"], "192.0.2");
    format!("{net}.{}", 1 + dice.below(254))
}

fn trace_id(dice: &mut Dice) -> String {
    format!("{:016x}{:016x}", dice.roll(), dice.roll())
}

/// A page that somebody opens: nginx writes it, the shop behind it too when it had work.
fn request(dice: &mut Dice, broken: bool, lines: &mut Vec<Line>) {
    let path = dice.pick(PATHS, "/");
    let dynamic = !path.starts_with("/static") && path != "/favicon.ico";
    let checkout = path.starts_with("/cart") || path == "/checkout";
    let fails = dynamic && if broken { checkout || dice.chance(150) } else { dice.chance(4) };
    let status = match (fails, dice.below(100)) {
        (true, n) if n < 70 => 500,
        (true, _) => 504,
        (false, n) if n < 3 => 404,
        (false, n) if n < 6 => 304,
        (false, n) if n < 10 && path == "/login" => 401,
        (false, _) => 200,
    };
    let micros = match status {
        504 => 30_000_000 + dice.below(20_000),
        500 => 20_000 + dice.below(200_000),
        _ if dynamic => 8_000 + dice.below(if broken { 2_400_000 } else { 140_000 }),
        _ => 200 + dice.below(900),
    };
    let number = 1 + dice.below(2);
    let method = if checkout || path == "/login" { "POST" } else { "GET" };
    let bytes = if status == 304 { 0 } else { 300 + dice.below(42_000) };
    let (client, agent) = (client(dice), dice.pick(AGENTS, "curl/8.14"));
    let access = format!(
        "{client} - - \"{method} {path} HTTP/2.0\" {status} {bytes} \"https://shop.example/\" \
         \"{agent}\" rt={}.{:03}",
        micros / 1_000_000,
        micros / 1_000 % 1_000
    );
    lines.push(line(
        dice,
        format!("web-{number}"),
        "nginx",
        23,
        Severity::Info,
        Some(1204),
        access,
    ));
    if !dynamic {
        return;
    }
    let (trace, user) = (trace_id(dice), dice.pick(USERS, "ann"));
    let host = format!("app-{number}");
    let duration = micros / 1_000;
    match status {
        500 => {
            let message = format!(
                "unhandled exception trace_id={trace} user={user} path={path}\n\
                 PriceError: discount is nil for cart of {user}\n\
                 \tat shop.cart.Discounts.apply (discounts.py:{})\n\
                 \tat shop.cart.Cart.total (cart.py:118)\n\
                 \tat shop.web.checkout.confirm (checkout.py:64)\n\
                 \tat shop.web.server.handle (server.py:201)",
                71 + dice.below(3)
            );
            lines.push(line(dice, host, "shop", 16, Severity::Error, Some(812), message));
        }
        504 => {
            let upstream = format!(
                "upstream timed out (110: Connection timed out) while reading response header from \
                 upstream, client: {client}, server: shop.example, request: \"{method} {path} \
                 HTTP/2.0\", upstream: \"http://{host}:8080{path}\""
            );
            lines.push(line(
                dice,
                format!("web-{number}"),
                "nginx",
                23,
                Severity::Error,
                Some(1204),
                upstream,
            ));
        }
        _ => {
            let slow = duration > 1_000;
            let (level, severity) =
                if slow { ("warn", Severity::Warning) } else { ("info", Severity::Info) };
            let message = format!(
                r#"{{"level":"{level}","msg":"{}","method":"{method}","path":"{path}","status":{status},"duration_ms":{duration},"user":"{user}","trace_id":"{trace}"}}"#,
                if slow { "slow request" } else { "request" }
            );
            lines.push(line(dice, host, "shop", 16, severity, Some(812), message));
        }
    }
}

fn ssh(dice: &mut Dice, lines: &mut Vec<Line>) {
    let (address, port) = (client(dice), 20_000 + dice.below(40_000));
    let pid = Some(30_000 + u32::try_from(dice.below(9_000)).unwrap_or(0));
    let host = dice.pick(&["web-1", "web-2", "app-1", "app-2", "db-1"], "web-1");
    let (severity, message) = if dice.chance(700) {
        let user = dice.pick(INTRUDERS, "root");
        let message =
            format!("Failed password for invalid user {user} from {address} port {port} ssh2");
        (Severity::Info, message)
    } else {
        let user = dice.pick(USERS, "ann");
        let message = format!(
            "Accepted publickey for {user} from {address} port {port} ssh2: ED25519 \
             SHA256:{:016x}{:016x}",
            dice.roll(),
            dice.roll()
        );
        (Severity::Info, message)
    };
    lines.push(line(dice, host, "sshd", 10, severity, pid, message));
}

fn database(dice: &mut Dice, broken: bool, lines: &mut Vec<Line>) {
    let pid = 700 + u32::try_from(dice.below(40)).unwrap_or(0);
    let (severity, message) = match dice.below(10) {
        0..=2 => {
            let ms = 400 + dice.below(if broken { 9_000 } else { 1_500 });
            let message = format!(
                "LOG:  duration: {ms}.{:03} ms  statement: SELECT id, price FROM items WHERE shop_id \
                 = {} ORDER BY created_at DESC LIMIT 50",
                dice.below(1_000),
                dice.below(400)
            );
            (Severity::Info, message)
        }
        3 if broken => (
            Severity::Warning,
            format!("WARNING:  {} connections of 100 are in use", 80 + dice.below(20)),
        ),
        _ => {
            let message = format!(
                "LOG:  checkpoint complete: wrote {} buffers; {} WAL file(s) added",
                dice.below(4_000),
                dice.below(3)
            );
            (Severity::Info, message)
        }
    };
    lines.push(line(dice, "db-1", "postgres", 16, severity, Some(pid), message));
}

fn cron(at: i64, dice: &mut Dice, lines: &mut Vec<Line>) {
    let minute = at.div_euclid(60);
    let pid = Some(41_000 + u32::try_from(minute.rem_euclid(5_000)).unwrap_or(0));
    let message = "(root) CMD (/usr/local/bin/shop-batch --minutely)".to_owned();
    lines.push(line(dice, "batch-1", "CRON", 9, Severity::Info, pid, message));
    let name = dice.pick(BATCHES, "在庫同期");
    let (ok, bad) = (40 + dice.below(900), if dice.chance(200) { dice.below(9) } else { 0 });
    let severity = if bad > 0 { Severity::Warning } else { Severity::Info };
    let message = if bad > 0 {
        format!("バッチ「{name}」が一部失敗しました 成功={ok} 失敗={bad}")
    } else {
        format!("バッチ「{name}」が完了しました 成功={ok} 失敗=0")
    };
    lines.push(line(dice, "batch-1", "shop-batch", 16, severity, pid, message));
}

/// The release that goes wrong, told by the tool that does it.
fn deploy(round: i64, lines: &mut Vec<Line>) {
    let (severity, message) = match round - DEPLOY_S {
        -6 => (Severity::Info, "release v2.8.0 approved by mei, starting"),
        -4 => (Severity::Info, "app-1: stopping v2.7.3, starting v2.8.0"),
        -2 => (Severity::Info, "app-2: stopping v2.7.3, starting v2.8.0"),
        0 => (Severity::Notice, "release v2.8.0 is live on app-1, app-2"),
        45 => (Severity::Warning, "error rate of shop is 14 % over 30 s, limit 2 %"),
        75 => (Severity::Error, "release v2.8.0 failed: POST /checkout answers 500"),
        80 => (Severity::Notice, "rollback to v2.7.3 requested by taro"),
        110 => (Severity::Info, "app-1: stopping v2.8.0, starting v2.7.3"),
        116 => (Severity::Info, "app-2: stopping v2.8.0, starting v2.7.3"),
        120 => (Severity::Notice, "rollback done, v2.7.3 is live; error rate 0 %"),
        _ => return,
    };
    lines.push(Line {
        nanos: 500_000_000,
        host: "ops-1".to_owned(),
        app: "deploy",
        facility: 16,
        severity,
        pid: Some(99),
        message: message.to_owned(),
    });
}
