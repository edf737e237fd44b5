//! The viewer at `/`, the page of one record, the first steps, the way in: HTML, whole without
//! scripts. The only file that knows askama.
//!
//! A page is made in two steps: handlers ask (`query`, on a blocking thread) and lay out what was
//! found as plain data; templates only write it down. What is in a page's address is all of its
//! state (`address`), so that every link is a question that can be sent to somebody else.
//!
//! | file | noun |
//! |---|---|
//! | `address` | the state in the address, and how a click changes it |
//! | `found` | the question, asked: what the viewer shows |
//! | `rows` | records as lines |
//! | `chart` | the histogram as a drawing |
//! | `range` | the range in words, and the ones beside it |
//! | `senders` | snippets for the first line |
//! | `words` | Japanese and English |
//! | `assets` | embedded styles and scripts |

mod address;
mod assets;
mod chart;
mod found;
mod range;
mod rows;
mod senders;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State as Extract};
use axum::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::base::time::Zone;
use crate::reply::Problem;
use crate::serve::State;
use crate::serve::params::Params;
use crate::store::Source;

use address::Address;
use assets::{ASSETS, Assets};
use chart::{Chart, Share};
use range::RangeView;
use rows::{Detail, Kind, Row, Scene};
use senders::{Place, Snippet};
use words::Lang;

/// What all pages have.
#[derive(Clone)]
struct Frame {
    l: Lang,
    title: String,
    zone: String,
    assets: &'static Assets,
}

/// The header: what is asked, over which time.
#[derive(Default)]
struct Ask {
    q: String,
    hidden: Vec<(&'static str, String)>,
    wrong: Option<Wrong>,
    range: RangeView,
    live: Option<Live>,
}

/// Why the question does not read.
struct Wrong {
    /// 1-based, in characters; 0: it is not the query.
    column: usize,
    before: String,
    at: String,
    after: String,
    detail: String,
    expected: String,
}

/// The live switch.
struct Live {
    on: bool,
    href: String,
    tail: String,
}

/// A link with its text.
struct Way {
    label: String,
    href: String,
    note: String,
}

/// Why there are no lines, and what to try.
#[derive(Default)]
struct Nothing {
    title: &'static str,
    text: String,
    ways: Vec<Way>,
    /// What the language can say.
    examples: Vec<Way>,
}

/// Lines that lie after now.
struct Future {
    count: String,
    href: String,
}

/// Another page of lines.
struct Page {
    rel: &'static str,
    label: &'static str,
    href: String,
}

/// The truth about the answer.
#[derive(Default)]
struct Foot {
    count: String,
    took: String,
    newest: Option<String>,
    dropped: String,
    lost: bool,
    /// Why nothing is accepted, or no age is believed, if so.
    trouble: Option<String>,
    /// What retention took since the start, if anything.
    gone: Option<String>,
    partial: Option<String>,
    lang_href: String,
}

#[derive(Template)]
#[template(path = "viewer.html")]
struct Viewer {
    f: Frame,
    ask: Ask,
    chart: Option<Chart>,
    legend: Vec<Share>,
    total: String,
    future: Option<Future>,
    order: Way,
    rows: Vec<Row>,
    /// Are days said between the lines?
    days: bool,
    pages: Vec<Page>,
    nothing: Option<Nothing>,
    foot: Foot,
}

#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage {
    f: Frame,
    ask: Ask,
    detail: Detail,
}

#[derive(Template)]
#[template(path = "first.html")]
struct First {
    f: Frame,
    places: Vec<Place>,
    snippets: Vec<Snippet>,
    near: bool,
    /// Lines of our own log.
    own: u64,
    lang_href: String,
}

#[derive(Template)]
#[template(path = "words.html")]
struct Words {
    f: Frame,
    ask: Ask,
    title: &'static str,
    detail: String,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    f: Frame,
    next: String,
    failed: bool,
}

/// The app of our own log in our own store (contract 2).
const OWN_APP: &str = "shirabe";

/// With more lines than these somebody has sent some: whether all are ours is not looked at.
const OWN_LINES_MAX: u64 = 1_000;

/// Who reads: language and clock.
#[derive(Clone)]
struct Reader {
    l: Lang,
    zone: Zone,
    /// The zone's name.
    zone_name: String,
    /// To be remembered, since the address names it.
    cookie: Option<&'static str>,
}

impl Reader {
    /// From the address, the cookies, the browser; an unknown zone is a problem of the address.
    fn new(state: &State, address: &Address, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut reader = Self::of(state, address, headers);
        if !address.tz.is_empty() {
            reader.zone = Zone::named(&address.tz).ok_or_else(|| {
                Problem::parameter("tz", &address.tz, "an IANA name such as Asia/Tokyo or UTC")
            })?;
            reader.zone_name.clone_from(&address.tz);
        }
        Ok(reader)
    }

    fn of(state: &State, address: &Address, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let l = Lang::choose(&address.lang, cookie(headers, "lang"), text(ACCEPT_LANGUAGE));
        let named = cookie(headers, "tz").and_then(|name| Some((name, Zone::named(name)?)));
        let (zone_name, zone) = named.map_or_else(
            || {
                let zone = state.config.time_zone.clone();
                (zone.inner().iana_name().unwrap_or("UTC").to_owned(), zone)
            },
            |(name, zone)| (name.to_owned(), zone),
        );
        let cookie = match &*address.lang {
            "ja" => Some("lang=ja; Path=/; Max-Age=31536000; SameSite=Strict"),
            "en" => Some("lang=en; Path=/; Max-Age=31536000; SameSite=Strict"),
            _ => None,
        };
        Self { l, zone, zone_name, cookie }
    }

    fn frame(&self, title: impl Into<String>) -> Frame {
        Frame { l: self.l, title: title.into(), zone: self.zone_name.clone(), assets: &ASSETS }
    }

    fn answer(&self, status: StatusCode, page: &impl Template) -> Response {
        let mut response = html(status, page);
        if let Some(cookie) = self.cookie {
            response.headers_mut().append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        response
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value)
}

fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status;
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The routes of the pages.
pub fn routes() -> Router<State> {
    Router::new()
        .route("/", get(viewer))
        .route("/records/{id}", get(record))
        .route("/assets/{name}", get(asset))
}

async fn viewer(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let address = Address::from_params(&params);
    let reader = Reader::new(&state, &address, &headers)?;
    if address.q.is_empty()
        && let Some(own) = only_own(&state).await?
    {
        return Ok(first(&state, &reader, &address, &headers, own));
    }
    let (status, page) = found::viewer(&state, address, &reader).await?;
    Ok(reader.answer(status, &page))
}

/// How many lines there are where all are, at most, what we say of ourselves.
async fn only_own(state: &State) -> Result<Option<u64>, Problem> {
    let store = Arc::clone(&state.store);
    state
        .ask(move |_, _| {
            let records = store.status().records;
            let is_own = |source: &Source| &*source.app == OWN_APP;
            let only =
                records == 0 || (records < OWN_LINES_MAX && store.sources().iter().all(is_own));
            Ok(only.then_some(records))
        })
        .await
}

fn first(
    state: &State,
    reader: &Reader,
    address: &Address,
    headers: &HeaderMap,
    own: u64,
) -> Response {
    let l = reader.l;
    let reach = senders::Reach {
        http: state.http,
        host: headers.get(HOST).and_then(|v| v.to_str().ok()),
        guarded: state.config.auth.token.is_some(),
    };
    let page = First {
        f: reader.frame(l.t("shirabe · send the first line", "調べ · 最初の1行を送る")),
        places: senders::places(&state.bound, &reach, l),
        snippets: senders::snippets(&state.bound, &reach),
        near: senders::near(&state.bound),
        own,
        lang_href: address.speaking(l.t("ja", "en")).href(),
    };
    reader.answer(StatusCode::OK, &page)
}

async fn record(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let address = Address::from_params(&params);
    let reader = Reader::new(&state, &address, &headers)?;
    let (title, detail) = found::record(&state, &id, &address, &reader).await?;
    let page = RecordPage {
        ask: Ask {
            q: address.q.clone(),
            range: RangeView::of(&address, &reader),
            ..Ask::default()
        },
        f: reader.frame(title),
        detail,
    };
    Ok(reader.answer(StatusCode::OK, &page))
}

/// Named by its content, so that it may be kept for ever.
async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let href = format!("/assets/{name}");
    let asset =
        ASSETS.find(&href).ok_or_else(|| Problem::not_found(format!("such address: {href}")))?;
    let mut response = Response::new(Body::from(asset.body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, for_ever);
    Ok(response)
}

/// The form that asks for the token; `next` is where one wanted to go. 403: it was not the token.
pub(crate) fn login(
    state: &State,
    headers: &HeaderMap,
    status: StatusCode,
    next: &str,
) -> Response {
    let reader = Reader::of(state, &Address::default(), headers);
    let failed = status == StatusCode::FORBIDDEN;
    let page = Login { f: reader.frame("shirabe"), next: next.to_owned(), failed };
    let mut response = reader.answer(status, &page);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Puts a [`Problem`] into words for a person: whoever asked a page gets a page.
pub(crate) async fn dress(
    Extract(state): Extract<State>,
    request: Request,
    next: Next,
) -> Response {
    let wants = wants_page(request.method(), request.uri(), request.headers());
    let headers = request.headers().clone();
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>().filter(|_| wants) else {
        return response;
    };
    let mut page = sorry(&state, &headers, problem);
    // `Retry-After`, `WWW-Authenticate`, …
    for (name, value) in response.headers() {
        if !page.headers().contains_key(name) && !name.as_str().starts_with("content-") {
            page.headers_mut().insert(name, value.clone());
        }
    }
    page
}

fn wants_page(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let accepts = |v: &HeaderValue| v.to_str().is_ok_and(|v| v.contains("text/html"));
    matches!(*method, Method::GET | Method::HEAD | Method::POST)
        && !uri.path().starts_with("/api/")
        && headers.get_all(ACCEPT).into_iter().any(accepts)
}

fn sorry(state: &State, headers: &HeaderMap, problem: &Problem) -> Response {
    let reader = Reader::of(state, &Address::default(), headers);
    let l = reader.l;
    let title = match problem.status() {
        StatusCode::BAD_REQUEST => l.t("This address does not read", "アドレスを読み取れません"),
        StatusCode::FORBIDDEN => l.t("Not from there", "この場所からは使えません"),
        StatusCode::NOT_FOUND => l.t("There is nothing here", "見つかりません"),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => l.t(
            "Not now; try again in a moment",
            "今は応答できません。少し待って再試行してください",
        ),
        _ => l.t("That did not work", "うまくいきませんでした"),
    };
    let address = Address::default();
    let page = Words {
        ask: Ask { range: RangeView::of(&address, &reader), ..Ask::default() },
        f: reader.frame(title),
        title,
        detail: problem.detail().to_owned(),
    };
    reader.answer(problem.status(), &page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::record::{Defects, Line, Record, Severity, Via};
    use crate::base::time::Timestamp;
    use crate::base::value::{Field, Value};

    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

    fn reader() -> Reader {
        Reader { l: Lang::En, zone: Zone::utc(), zone_name: "UTC".into(), cookie: None }
    }

    fn record() -> Record {
        Record {
            id: 7,
            time: Timestamp(1_772_355_600_123_456_789),
            received: Timestamp(1_772_355_600_130_000_000),
            host: EVIL.into(),
            app: EVIL.into(),
            severity: Some(Severity::Error),
            facility: None,
            pid: Some(EVIL.into()),
            line: Line::text(&format!("{EVIL} needle {EVIL}")),
            fields: vec![Field { name: EVIL.into(), value: Value::str(EVIL) }],
            format: Some(EVIL.into()),
            via: std::sync::Arc::new(Via {
                format: EVIL.into(),
                listener: EVIL.into(),
                transport: EVIL.into(),
                peer: EVIL.into(),
            }),
            tag: Some(EVIL.into()),
            defects: Defects::default(),
        }
    }

    #[test]
    fn what_senders_wrote_is_text_wherever_it_stands() {
        let address = Address { q: EVIL.into(), tz: EVIL.into(), ..Address::default() };
        let reader = reader();
        let mark =
            |text: &str| text.match_indices("needle").map(|(at, m)| at..at + m.len()).collect();
        let scene = Scene { address: &address, mark: &mark, zone: &reader.zone, l: reader.l };
        let page = RecordPage {
            f: reader.frame(EVIL),
            ask: Ask { q: EVIL.into(), range: RangeView::of(&address, &reader), ..Ask::default() },
            detail: scene.detail(&record(), EVIL.to_owned(), true),
        };
        let html = page.render().unwrap();
        for tag in ["<script>", "<img", "\"'>"] {
            assert!(!html.contains(tag), "{tag} in {html}");
        }
        assert!(html.contains("<mark>needle</mark>"));
    }

    #[test]
    fn templates_hold_to_the_content_policy() {
        let templates = [
            include_str!("templates/ask.html"),
            include_str!("templates/base.html"),
            include_str!("templates/detail.html"),
            include_str!("templates/first.html"),
            include_str!("templates/login.html"),
            include_str!("templates/record.html"),
            include_str!("templates/viewer.html"),
            include_str!("templates/words.html"),
        ];
        for text in templates {
            for inline in
                [" style=", "<style", "<script>", " onclick=", " onload=", "|safe", "javascript:"]
            {
                assert!(!text.contains(inline), "{inline} in {text}");
            }
        }
    }
}
