use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    extract::{self, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use super::web::{MAIL_POLICY, PAGE_POLICY};

/// Where the gallery of all mails is, once there is one.
pub(super) type Gallery = Arc<OnceLock<PathBuf>>;

/// The gallery under `/templates/`, as `mailer templates render` writes it.
pub(super) fn routes(gallery: Gallery) -> Router {
    Router::new()
        .route("/templates", get(async || Redirect::permanent("/templates/")))
        .route("/templates/", get(async |State(gallery): State<Gallery>| file(&gallery, "index.html").await))
        .route(
            "/templates/{file}",
            get(async |State(gallery): State<Gallery>, extract::Path(name): extract::Path<String>| {
                file(&gallery, &name).await
            }),
        )
        .with_state(gallery)
}

async fn file(gallery: &Gallery, name: &str) -> Response {
    let Some(directory) = gallery.get() else {
        return (
            StatusCode::NOT_FOUND,
            "`dev-stack run` shows the templates here; this is a mail catcher alone.\n",
        )
            .into_response();
    };
    match (content_type(name), read(directory, name).await) {
        (Some(content_type), Some(content)) => {
            ([policy(name), (header::CONTENT_TYPE, content_type)], content).into_response()
        }
        _ => (StatusCode::NOT_FOUND, "There is no such template.\n").into_response(),
    }
}

/// The files have simple names, so that none leads out of the directory.
async fn read(directory: &Path, name: &str) -> Option<Vec<u8>> {
    let simple = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.');
    if name.starts_with('.') || !name.bytes().all(simple) {
        return None;
    }
    tokio::fs::read(directory.join(name)).await.ok()
}

fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "txt" => Some("text/plain; charset=utf-8"),
        _ => None,
    }
}

fn policy(name: &str) -> (HeaderName, &'static str) {
    if name == "index.html" { PAGE_POLICY } else { MAIL_POLICY }
}
