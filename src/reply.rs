//! The one place that turns errors into HTTP (RFC 9457 problem documents).
//!
//! Floor 4, shared by `serve` and `ingest/http`. Whatever goes wrong between a request and its
//! answer becomes a [`Problem`]: errors of the program by one exhaustive match, what only HTTP can
//! get wrong (a parameter, a path, a method) by a constructor each.

use std::any::Any;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::base::error::{Error, QueryError, Refusal};

/// An answer that is not what was asked for: RFC 9457, media type `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of problem, in words that do not change from case to case (RFC 9457 3.1.3).
    title: &'static str,
    /// The HTTP status once more (RFC 9457 3.1.2).
    #[serde(serialize_with = "status_code")]
    status: StatusCode,
    /// This case: what was found, what is expected.
    detail: String,
    /// Of a query: where it stops to read; 1-based, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// Of a query: what would read there.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Vec<String>>,
    /// Of a call: which parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
    /// When it is worth another try, seconds (RFC 9110 10.2.3).
    #[serde(skip)]
    retry_after: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn status_code<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem with nothing but a status and a sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: title(status),
            status,
            detail: detail.into(),
            column: None,
            expected: None,
            parameter: None,
            retry_after: None,
        }
    }

    /// 400: a parameter does not read.
    pub fn parameter(name: &'static str, found: &str, expected: &str) -> Self {
        let found: String = found.chars().take(100).collect();
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            format!("the parameter {name} is {found:?}, expected {expected}"),
        );
        problem.title = "A parameter does not read";
        problem.parameter = Some(name);
        problem
    }

    /// 404: there is no such thing.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::from(Error::NotFound { what: what.into() })
    }

    /// The same, worth another try after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its sentence, for a page.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Of a query: the column, 1-based, in characters.
    pub fn column(&self) -> Option<usize> {
        self.column
    }

    /// Of a query: what was expected at the column.
    pub fn expected(&self) -> &[String] {
        self.expected.as_deref().unwrap_or_default()
    }
}

/// Titles of the statuses that we answer with.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "The request does not read",
        StatusCode::UNAUTHORIZED => "A token is needed",
        StatusCode::FORBIDDEN => "Not from there",
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::METHOD_NOT_ALLOWED => "The method is not for this address",
        StatusCode::PAYLOAD_TOO_LARGE => "Too large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "The media type is not understood",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "Not now, try again",
        other => other.canonical_reason().unwrap_or("The request failed"),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Io { .. } if error.is_disk_full() => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not accepted: the disk is full")
                    .retry_after(10)
            }
            Error::Io { .. } | Error::Corrupt { .. } | Error::Version { .. } => {
                tracing::error!(error = %detail, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
            Error::Limit { .. } => Self::new(StatusCode::BAD_REQUEST, detail),
            Error::InUse { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
            Error::Busy(Refusal::QueueFull) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(1)
            }
            Error::Busy(Refusal::DiskFull | Refusal::BelowFloor { .. }) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(10)
            }
            Error::Busy(Refusal::TooManyReaders) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1)
            }
            Error::Poisoned => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(60),
            Error::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(5),
            Error::Query(query) => Self::from(query),
            Error::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, detail),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, error.detail);
        problem.title = "The query does not read";
        problem.column = Some(error.column);
        problem.expected = Some(error.expected);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // For whoever asked a page: `serve::pages` says it in HTML.
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer of a handler that panicked: a 500 without the panic's text, which goes to our log.
pub fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    tracing::error!(panic = text, "a request ended in a panic");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the program made a mistake while it answered; its log says where",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Error, status: u16, retry_after: Option<&str>, title: &str) {
        let response = Problem::from(error).into_response();
        assert_eq!(response.status().as_u16(), status, "{title}");
        let retry = response.headers().get(RETRY_AFTER).map(|v| v.to_str().expect("ASCII"));
        assert_eq!(retry, retry_after, "{title}");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json", "{title}");
    }

    #[test]
    fn every_error_has_its_status() {
        let io = |kind| Error::io("write", "/x", std::io::Error::from(kind));
        check(io(std::io::ErrorKind::StorageFull), 503, Some("10"), "full disk");
        check(io(std::io::ErrorKind::PermissionDenied), 500, None, "other I/O");
        check(Error::corrupt("a", "b"), 500, None, "damage");
        check(Error::Limit { what: "x", got: 2, max: 1 }, 400, None, "limit");
        check(Error::Busy(Refusal::QueueFull), 429, Some("1"), "queue");
        check(Error::Busy(Refusal::DiskFull), 503, Some("10"), "disk");
        check(Error::Busy(Refusal::TooManyReaders), 503, Some("1"), "readers");
        check(Error::Poisoned, 503, Some("60"), "poisoned");
        check(Error::Closed, 503, Some("5"), "closed");
        check(Error::NotFound { what: "record 1".into() }, 404, None, "not found");
    }

    #[test]
    fn a_query_says_where_and_what() {
        let error = QueryError {
            column: 7,
            detail: "the quote does not end".into(),
            expected: vec!["\"".into()],
        };
        let json = serde_json::to_value(Problem::from(error)).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({"title": "The query does not read", "status": 400,
                "detail": "the quote does not end", "column": 7, "expected": ["\""]})
        );
    }

    #[test]
    fn a_parameter_is_named_and_its_value_cut() {
        let problem = Problem::parameter("limit", &"9".repeat(500), "a number");
        assert!(problem.detail().len() < 200, "{}", problem.detail());
        let json = serde_json::to_value(&problem).expect("JSON");
        assert_eq!(json["parameter"], "limit");
        assert_eq!(json["status"], 400);
    }
}
