//! Who may ask: no foreign web page, no name that was made to point at us, nobody without the
//! token where one is asked for (contract 2 and 4).
//!
//! The order is that of cheapness and of harm: `Host` and `Origin` first (they protect the server
//! on somebody's desk from the pages that this person visits), then the token. The page's cookie
//! does not hold the token but a hash made from it: it opens this server and no other door where
//! the token may be used, and it dies with the token.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName,
    ORIGIN, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::base::limits::COOKIE_SECONDS_MAX;
use crate::base::metrics::Counter;
use crate::config::{Auth, AuthMode};
use crate::reply::Problem;
use crate::serve::guesses::Guesses;
use crate::serve::{State, login};

/// What every page may load: its own scripts, styles and pictures, nothing inline, nothing foreign.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

/// The rules of one server.
pub struct Guard {
    /// Our listener is on loopback, so that only names that mean loopback may lead to us.
    loopback: bool,
    /// `http.hosts`, in small letters.
    hosts: Vec<String>,
    door: Door,
    /// Its name bears the port: cookies are shared by all ports of a host.
    cookie: String,
    guesses: Guesses,
}

/// Who shows a token, and when on the monotonic clock; no address where there is no connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    address: Option<IpAddr>,
    at: Duration,
}

impl Visit {
    /// Over this connection, now.
    pub(crate) fn now(state: &State, connection: Option<&ConnectInfo<SocketAddr>>) -> Self {
        Self { address: connection.map(|c| c.0.ip()), at: state.clock.monotonic() }
    }
}

/// What is asked of who comes in.
enum Door {
    /// Nothing.
    Open,
    /// The token.
    Token(Key),
    /// Nobody comes in: a token is asked for and none is set.
    Shut,
}

/// Hashes of the token.
struct Key {
    token: [u8; 32],
    cookie: String,
}

impl Guard {
    /// From `http.hosts`, `[auth]`, and the address that is bound really.
    pub fn new(hosts: &[String], auth: &Auth, http: SocketAddr) -> Self {
        let loopback = http.ip().is_loopback();
        let door = match (auth.mode, &auth.token) {
            (AuthMode::None, _) => Door::Open,
            (AuthMode::Token, Some(token)) => Door::Token(Key::new(token)),
            (AuthMode::Token, None) if loopback => Door::Open,
            (AuthMode::Token, None) => Door::Shut,
        };
        let hosts = hosts.iter().map(|h| h.to_ascii_lowercase()).collect();
        let cookie = format!("shirabe_{}", http.port());
        Self { loopback, hosts, door, cookie, guesses: Guesses::default() }
    }

    /// 403 for a request that a foreign page made, or that came by a name that is not ours.
    fn check_source(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        let refuse = |what: String| Err(Problem::new(StatusCode::FORBIDDEN, what));
        let mut hosts = Vec::new();
        for value in headers.get_all(HOST) {
            let Ok(host) = value.to_str() else {
                return refuse("the header Host does not read".to_owned());
            };
            hosts.push(host.to_ascii_lowercase());
        }
        hosts.extend(uri.authority().map(|a| a.as_str().to_ascii_lowercase()));
        if self.loopback
            && let Some(host) = hosts.iter().find(|host| !self.is_ours(host))
        {
            return refuse(format!(
                "this server listens on loopback and does not answer to the name {host:?}; \
                 names that lead here on purpose belong into http.hosts"
            ));
        }
        for value in headers.get_all(ORIGIN) {
            let origin = value.to_str().unwrap_or_default().to_ascii_lowercase();
            let authority =
                origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let is_own = |a: &str| hosts.iter().any(|host| host == a) || self.is_listed(a);
            if !authority.is_some_and(is_own) {
                return refuse(format!("a page from {origin:?} may not use this server"));
            }
        }
        Ok(())
    }

    /// Is `host` (in small letters, with or without a port) a name of loopback or in `http.hosts`?
    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_suffix('.').unwrap_or(name);
        bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.is_listed(host)
    }

    /// Is `host` (in small letters, with or without a port) in `http.hosts`?
    fn is_listed(&self, host: &str) -> bool {
        let name = without_port(host);
        let name = name.strip_suffix('.').unwrap_or(name);
        self.hosts.iter().any(|ours| ours == host || ours == name)
    }

    /// What a browser gets for the token: a `Set-Cookie` value; `None` for a wrong token, or where
    /// none is asked for. 429 for who has guessed too often.
    pub(crate) fn cookie_for(&self, token: &str, visit: Visit) -> Result<Option<String>, Problem> {
        let Door::Token(key) = &self.door else { return Ok(None) };
        let is_right = self.try_out(&[token], visit, || key.is(token))?;
        Ok(is_right.then(|| {
            format!(
                "{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_SECONDS_MAX}",
                self.cookie, key.cookie
            )
        }))
    }

    /// May this request in? 429 for who has guessed too often.
    pub(crate) fn lets_in(&self, headers: &HeaderMap, visit: Visit) -> Result<bool, Problem> {
        let key = match &self.door {
            Door::Open => return Ok(true),
            Door::Shut => return Ok(false),
            Door::Token(key) => key,
        };
        let token = bearer(headers);
        let shown: Vec<&str> = token.into_iter().chain(self.cookies(headers)).collect();
        self.try_out(&shown, visit, || {
            token.is_some_and(|token| key.is(token))
                || self.cookies(headers).any(|cookie| key.is_cookie(cookie))
        })
    }

    /// Asks whether one of what was shown is right, and counts where none is.
    fn try_out(
        &self,
        shown: &[&str],
        visit: Visit,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, Problem> {
        let Some(address) = visit.address else { return Ok(is_right()) };
        if shown.is_empty() {
            return Ok(false);
        }
        if let Some(wait) = self.guesses.wait(address, visit.at) {
            let detail = "too many wrong tokens came from this address: wait a minute";
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds));
        }
        let is_right = is_right();
        if !is_right {
            for token in shown {
                self.guesses.wrong(address, token, visit.at);
            }
        }
        Ok(is_right)
    }

    /// Values of our cookie: a browser has one, or two where a proxy had another path.
    fn cookies<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        headers
            .get_all(COOKIE)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie)
            .map(|(_, value)| value)
            .take(2)
    }
}

impl Key {
    fn new(token: &str) -> Self {
        let cookie = hash(&["shirabe page cookie 1:", token]);
        Self { token: hash(&[token]), cookie: URL_SAFE_NO_PAD.encode(cookie) }
    }

    /// Compares hashes, so that the time says nothing about the token.
    fn is(&self, token: &str) -> bool {
        same(&hash(&[token]), &self.token)
    }

    fn is_cookie(&self, cookie: &str) -> bool {
        same(&hash(&[cookie]), &hash(&[&self.cookie]))
    }
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// Equal? Looks at all bytes, whatever the first ones are.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The host without `:port`; brackets of IPv6 stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    }
}

/// RFC 6750 2.1; the scheme in any case.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = std::str::from_utf8(headers.get(AUTHORIZATION)?.as_bytes()).ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Open to all: life and readiness (probes have no token), the way in, and what it is drawn with.
fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/login") || path.starts_with("/assets/")
}

/// Does a browser ask for a page?
fn is_page(request: &Request) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    request.method() == Method::GET
        && !request.uri().path().starts_with("/api/")
        && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Lets a request through to its handler, or answers in its place.
pub async fn check(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let guard = state.guard();
    if let Err(problem) = guard.check_source(request.headers(), request.uri()) {
        return problem.into_response();
    }
    if is_open(request.uri().path()) {
        return next.run(request).await;
    }
    match guard.lets_in(request.headers(), Visit::now(&state, request.extensions().get())) {
        Ok(true) => return next.run(request).await,
        Ok(false) => {}
        Err(problem) => return problem.into_response(),
    }
    if is_page(&request) {
        return login::ask_first(request.uri());
    }
    let problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        "send the header Authorization: Bearer and the token, or sign in at /login",
    );
    let mut response = problem.into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Counts the answer, and gives it the headers that keep browsers from doing more than is meant.
pub async fn count(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    state.metrics.add(Counter::Requests, &[response.status().as_str()], 1);
    let headers = response.headers_mut();
    let mut default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(CONTENT_SECURITY_POLICY, CONTENT_POLICY);
    default(X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Not `no-referrer`: with it browsers send `Origin: null` with our own forms.
    default(REFERRER_POLICY, "same-origin");
    default(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    default(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    default(CACHE_CONTROL, if is_api { "no-store" } else { "private, no-cache" });
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guard of a listener and its settings.
    fn guard(http: &str, mode: AuthMode, token: Option<&str>) -> Guard {
        let hosts = ["Logs.example.com".to_owned(), "box:9000".to_owned()];
        let auth = crate::config::Auth { mode, token: token.map(str::to_owned) };
        Guard::new(&hosts, &auth, http.parse().expect("an address"))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header"));
        }
        headers
    }

    /// Where there is no connection nothing is counted.
    fn nowhere() -> Visit {
        Visit { address: None, at: Duration::ZERO }
    }

    #[track_caller]
    fn check(guard: &Guard, pairs: &[(&'static str, &str)], allowed: bool) {
        let got = guard.check_source(&headers(pairs), &Uri::from_static("/"));
        assert_eq!(got.is_ok(), allowed, "{pairs:?}: {got:?}");
    }

    #[test]
    fn loopback_answers_to_its_own_names_only() {
        let guard = guard("127.0.0.1:8514", AuthMode::Token, None);
        for host in [
            "127.0.0.1:8514",
            "127.1.2.3",
            "localhost",
            "LOCALHOST:8514",
            "localhost.",
            "shirabe.localhost:1",
            "[::1]:8514",
            "[::ffff:127.0.0.1]:8514",
            "logs.example.com",
            "logs.example.com:8514",
            "box:9000",
        ] {
            check(&guard, &[("host", host)], true);
        }
        for host in [
            "evil.example",
            "evil.example:8514",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "192.168.1.7:8514",
            "box:9001",
            "",
            "[::2]",
            "0.0.0.0:8514",
        ] {
            check(&guard, &[("host", host)], false);
        }
        check(&guard, &[], true);
        check(&guard, &[("host", "localhost"), ("host", "evil.example")], false);
    }

    #[test]
    fn pages_of_others_are_refused() {
        for (http, own) in [("127.0.0.1:8514", "localhost:8514"), ("10.0.0.1:80", "logs.lan")] {
            let guard = guard(http, AuthMode::None, None);
            let same = format!("http://{own}");
            check(&guard, &[("host", own), ("origin", &same)], true);
            check(&guard, &[("host", own), ("origin", &same.replace("http", "https"))], true);
            for origin in [
                "http://evil.example",
                "null",
                "",
                "file://",
                "http://localhost",
                &format!("{same}.evil.example"),
                &format!("{same}0"),
            ] {
                check(&guard, &[("host", own), ("origin", origin)], false);
            }
            check(&guard, &[("origin", &same)], false);
            // A proxy before us that puts its own name for us into Host.
            check(&guard, &[("host", own), ("origin", "https://logs.example.com")], true);
            check(&guard, &[("host", own), ("origin", &same), ("origin", "http://x.y")], false);
        }
        // Behind a name of a non-loopback listener no list is asked.
        check(&guard("10.0.0.1:80", AuthMode::None, None), &[("host", "any.lan")], true);
    }

    #[test]
    fn the_token_opens_as_header_or_cookie() {
        let guard = guard("10.0.0.1:8514", AuthMode::Token, Some("s3cret 調"));
        let lets_in = |pairs: &[(&'static str, &str)]| {
            guard.lets_in(&headers(pairs), nowhere()).expect("no guesses are counted")
        };
        assert!(!lets_in(&[]));
        assert!(!lets_in(&[("authorization", "Bearer nope")]));
        assert!(!lets_in(&[("authorization", "Basic s3cret")]));
        assert!(!lets_in(&[("authorization", "Bearer")]));
        assert!(lets_in(&[("authorization", "bearer  s3cret 調")]));
        let cookie_for = |token| guard.cookie_for(token, nowhere()).expect("nor here");
        assert_eq!(cookie_for("nope"), None);
        let set = cookie_for("s3cret 調").expect("a cookie");
        assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"), "{set}");
        assert!(!set.contains("s3cret"), "{set}");
        let pair = set.split(';').next().expect("a pair");
        assert!(lets_in(&[("cookie", pair)]));
        assert!(lets_in(&[("cookie", &format!("a=b; {pair}; c=d"))]));
        assert!(!lets_in(&[("cookie", pair.strip_suffix(|_| true).expect("a last letter"))]));
        assert!(!lets_in(&[("cookie", &format!("x{pair}"))]));
    }

    #[test]
    fn who_guesses_too_often_waits_whatever_the_way() {
        let guard = guard("10.0.0.1:8514", AuthMode::Token, Some("right"));
        let visit = |at| Visit { address: Some([10, 0, 0, 9].into()), at: Duration::from_secs(at) };
        let token = |token: &str| headers(&[("authorization", &format!("Bearer {token}"))]);
        let cookie = |n: u32| headers(&[("cookie", &format!("shirabe_8514={n}"))]);
        for n in 0..crate::base::limits::GUESSES_A_MINUTE_MAX {
            let asked = match n % 3 {
                0 => guard.lets_in(&token(&n.to_string()), visit(1)),
                1 => guard.lets_in(&cookie(n), visit(1)),
                _ => guard.cookie_for(&n.to_string(), visit(1)).map(|c| c.is_some()),
            };
            assert_eq!(asked, Ok(false), "{n}");
            // Who shows nothing guesses nothing.
            assert_eq!(guard.lets_in(&HeaderMap::new(), visit(1)), Ok(false));
        }
        let late = guard.lets_in(&token("right"), visit(2)).expect_err("too often");
        assert_eq!(late.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(guard.cookie_for("right", visit(2)).is_err());
        assert_eq!(guard.lets_in(&HeaderMap::new(), visit(2)), Ok(false));
        assert_eq!(guard.lets_in(&token("right"), visit(61)), Ok(true));
        let other = Visit { address: Some([10, 0, 0, 8].into()), ..visit(2) };
        assert_eq!(guard.lets_in(&token("right"), other), Ok(true));
    }

    #[test]
    fn doors() {
        let open = |http, mode, token| {
            guard(http, mode, token).lets_in(&HeaderMap::new(), nowhere()) == Ok(true)
        };
        assert!(open("127.0.0.1:1", AuthMode::Token, None));
        assert!(open("[::1]:1", AuthMode::Token, None));
        assert!(!open("127.0.0.1:1", AuthMode::Token, Some("t")));
        assert!(!open("0.0.0.0:1", AuthMode::Token, None));
        assert!(!open("0.0.0.0:1", AuthMode::Token, Some("t")));
        assert!(open("0.0.0.0:1", AuthMode::None, None));
        assert!(open("0.0.0.0:1", AuthMode::None, Some("t")));
    }
}
