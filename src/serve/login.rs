//! The form that asks a browser for the token, once.
//!
//! A link from a chat or a mail leads here first even where the browser is signed in: it does not
//! send a `SameSite=Strict` cookie along with a foreign page's link. So a page that is asked for
//! without a cookie answers with a document that leads to `/login` by itself: that step is ours,
//! bears the cookie, and goes straight on to where the link pointed.

use std::net::SocketAddr;
use std::sync::LazyLock;

use axum::extract::{ConnectInfo, State as Extract};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::reply::Problem;
use crate::serve::guard::Visit;
use crate::serve::params::Params;
use crate::serve::{State, pages};

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;\
    padding:0 1rem;color-scheme:light dark}";

/// The step of this file bears its style in it and nothing else: the policy names its hash.
static CONTENT_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The form and where it goes to.
pub fn routes() -> Router<State> {
    Router::new().route("/login", get(show).post(enter))
}

/// What a page answers to a browser without a cookie: the way to the form, which goes by itself.
pub(crate) fn ask_first(uri: &Uri) -> Response {
    let next = uri.path_and_query().map_or("/", |path| path.as_str());
    let href = escape(&format!("/login?next={}", percent(next)));
    let body = format!(
        "<meta http-equiv=\"refresh\" content=\"0; url={href}\">\
         <p><a href=\"{href}\">Sign in</a> to see this page."
    );
    let mut response = document(StatusCode::UNAUTHORIZED, &body);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The connection; there is none where no socket is.
type Connection = Option<Extension<ConnectInfo<SocketAddr>>>;

async fn show(
    Extract(state): Extract<State>,
    connection: Connection,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let next = way_on(&params);
    let visit = Visit::now(&state, connection.as_deref());
    if state.guard().lets_in(&headers, visit)? {
        return Ok(see_other(next));
    }
    Ok(pages::login(&state, &headers, StatusCode::OK, next))
}

async fn enter(
    Extract(state): Extract<State>,
    connection: Connection,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let next = way_on(&params);
    let token = params.get("token").unwrap_or_default().trim();
    let visit = Visit::now(&state, connection.as_deref());
    let cookie = state.guard().cookie_for(token, visit)?;
    let Some(cookie) = cookie.and_then(|c| HeaderValue::try_from(c).ok()) else {
        return Ok(pages::login(&state, &headers, StatusCode::FORBIDDEN, next));
    };
    let mut response = see_other(next);
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// `next`, where it is an address of ours; else the first page.
fn way_on(params: &Params) -> &str {
    let next = params.get("next").unwrap_or("/");
    let foreign = !next.starts_with('/')
        || next.starts_with("//")
        || next.contains('\\')
        || next.chars().any(char::is_control);
    if foreign { "/" } else { next }
}

fn see_other(next: &str) -> Response {
    let Ok(next) = HeaderValue::try_from(next) else {
        return Problem::parameter("next", next, "an address of this server").into_response();
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, next);
    response
}

fn document(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>shirabe: sign in</title>\
         <style>{STYLE}</style>{body}</html>"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, CONTENT_POLICY.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For HTML text and attributes in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// For the value of a parameter.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'/' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_on_stays_here() {
        for (next, expected) in [
            ("/", "/"),
            ("/?q=a&from=-15m", "/?q=a&from=-15m"),
            ("/records/7", "/records/7"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nb: c", "/"),
            ("https://evil.example", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            let params = Params::new(vec![("next".into(), next.into())]).expect("once");
            assert_eq!(way_on(&params), expected, "{next:?}");
        }
    }

    #[test]
    fn an_address_cannot_leave_its_attribute() {
        let uri: Uri = "/?q=%22%3E&x='|".parse().expect("an address");
        let next = percent(uri.path_and_query().expect("a path").as_str());
        assert!(!next.contains('"') && !next.contains('\''), "{next}");
        assert_eq!(escape("\"><script>&"), "&quot;&gt;&lt;script&gt;&amp;");
    }
}
