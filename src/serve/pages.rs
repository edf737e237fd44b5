//! The viewer at `/` and the page of one record. (The helper `pages` owns this file.)

use axum::Router;

use crate::serve::State;

/// The routes of the pages.
pub fn routes() -> Router<State> {
    Router::new()
}
