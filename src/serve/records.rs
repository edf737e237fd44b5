//! Records by their ids: one, many, and the bytes as they came.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State as Extract};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use crate::base::error::Error;
use crate::base::limits::{ANSWER_BYTES_MAX, SEARCH_LIMIT_MAX};
use crate::base::record::Record;
use crate::query::{Answer, Explain};
use crate::reply::Problem;
use crate::serve::State;
use crate::serve::params::Params;
use crate::serve::record_json::RecordJson;
use crate::serve::search::{Call, Records, json, to_json};

/// The calls of this file.
pub fn routes() -> Router<State> {
    Router::new()
        .route("/api/v1/records", get(many))
        .route("/api/v1/records/{id}", get(one))
        .route("/api/v1/records/{id}/raw", get(raw))
        // Beside the permalink, as contract 4 writes it: put behind the address of the page.
        .route("/records/{id}/raw", get(raw))
}

/// The record of an id as it stands in an address; 404 where there is none, also where the text
/// is no id.
pub(crate) async fn find(state: &State, id: &str) -> Result<Arc<Record>, Problem> {
    let missing = || {
        let id: String = id.chars().take(30).collect();
        Problem::not_found(format!("record {id}"))
    };
    let number = read_id(id).ok_or_else(missing)?;
    let found = state.ask(move |snapshot, _| Ok(snapshot.record(number)?)).await?;
    found.ok_or_else(missing)
}

/// An id as it stands in the path; where that is no text, there is no such record.
struct Id(String);

impl FromRequestParts<State> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found("such record"))
    }
}

/// Decimal digits only, as we print ids.
pub(crate) fn read_id(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

async fn one(Extract(state): Extract<State>, Id(id): Id) -> Result<Response, Problem> {
    let record = find(&state, &id).await?;
    Ok(json(to_json(&RecordJson(&record))?))
}

async fn raw(Extract(state): Extract<State>, Id(id): Id) -> Result<Response, Problem> {
    let record = find(&state, &id).await?;
    let bytes = record.line.raw();
    let kind = match std::str::from_utf8(bytes) {
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    };
    let mut response = Response::new(Body::from(bytes.to_vec()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// `?id=1,2,3`: those that are there, in the order asked for, and which are not.
async fn many(Extract(state): Extract<State>, params: Params) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Many<'a> {
        records: Records<'a>,
        missing: Vec<String>,
    }
    let call = Call::begin(&state, &params)?;
    let text = params.get("id").unwrap_or_default();
    let expected = "ids with commas between them";
    let ids: Vec<u64> = text
        .split(',')
        .map(|id| read_id(id.trim()).ok_or_else(|| Problem::parameter("id", text, expected)))
        .collect::<Result<_, _>>()?;
    if ids.len() > SEARCH_LIMIT_MAX {
        let detail = format!("{} ids are asked for, the limit is {SEARCH_LIMIT_MAX}", ids.len());
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let body = state
        .ask(move |snapshot, _| {
            let mut records = Vec::new();
            let mut missing = Vec::new();
            let mut bytes = 0;
            for id in ids {
                match snapshot.record(id)? {
                    Some(record) => {
                        bytes += record.weight();
                        if bytes > ANSWER_BYTES_MAX {
                            let what = "the bytes of the records of one answer";
                            let (got, max) = (bytes as u64, ANSWER_BYTES_MAX as u64);
                            return Err(Error::Limit { what, got, max }.into());
                        }
                        records.push(record);
                    }
                    None => missing.push(id.to_string()),
                }
            }
            let answer = Answer { value: (), partial: None, explain: Explain::default() };
            call.answer(&answer, Many { records: Records(&records), missing })
        })
        .await?;
    Ok(json(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_only() {
        for (text, id) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+1", None),
            ("", None),
            ("1x", None),
        ] {
            assert_eq!(read_id(text), id, "{text}");
        }
    }
}
