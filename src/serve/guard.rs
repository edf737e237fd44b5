//! Who may ask: no foreign web page, no name that was made to point at us, nobody without the
//! token where one is asked for (contract 2 and 4).
//!
//! The order is that of cheapness and of harm: `Host` and `Origin` first (they protect the server
//! on somebody's desk from the pages that this person visits), then the token. The page's cookie
//! does not hold the token but a hash made from it: it opens this server and no other door where
//! the token may be used, and it dies with the token.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::{Request, State as Extract};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, ORIGIN,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::base::metrics::Counter;
use crate::config::{AuthMode, Config};
use crate::reply::Problem;
use crate::serve::State;

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
    /// From the configuration and the address that is bound really.
    pub fn new(config: &Config, http: SocketAddr) -> Self {
        let loopback = http.ip().is_loopback();
        let door = match (config.auth.mode, &config.auth.token) {
            (AuthMode::None, _) => Door::Open,
            (AuthMode::Token, Some(token)) => Door::Token(Key::new(token)),
            (AuthMode::Token, None) if loopback => Door::Open,
            (AuthMode::Token, None) => Door::Shut,
        };
        let hosts = config.http.hosts.iter().map(|h| h.to_ascii_lowercase()).collect();
        Self { loopback, hosts, door, cookie: format!("shirabe_{}", http.port()) }
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
            if !authority.is_some_and(|a| hosts.iter().any(|host| host == a)) {
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
            || self.hosts.iter().any(|ours| ours == host || ours == name)
    }

    /// May this request in?
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        match &self.door {
            Door::Open => true,
            Door::Shut => false,
            Door::Token(key) => {
                bearer(headers).is_some_and(|token| key.is(token))
                    || self.cookies(headers).any(|cookie| key.is_cookie(cookie))
            }
        }
    }

    /// Values of our cookie.
    fn cookies<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        headers
            .get_all(COOKIE)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie)
            .map(|(_, value)| value)
    }
}

impl Key {
    fn new(token: &str) -> Self {
        let cookie = hash(&["shirabe page cookie 1:", token]);
        Self { token: hash(&[token]), cookie: hex(&cookie) }
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
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
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Open to all: life, the way in, and what the way in is drawn with.
fn is_open(path: &str) -> bool {
    path == "/healthz" || path == "/login" || path.starts_with("/assets/")
}

/// Lets a request through to its handler, or answers in its place.
pub async fn check(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let guard = state.guard();
    if let Err(problem) = guard.check_source(request.headers(), request.uri()) {
        return problem.into_response();
    }
    if is_open(request.uri().path()) || guard.lets_in(request.headers()) {
        return next.run(request).await;
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

/// The login form.
pub fn routes() -> Router<State> {
    Router::new()
}
