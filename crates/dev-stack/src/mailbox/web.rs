use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    http::{HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{
    inbox::Inbox,
    page,
    templates::{self, Gallery},
};

type Mails = State<Arc<Inbox>>;

/// Pages may run our script and nothing else, wherever a mail's text may have got to.
pub(super) const PAGE_POLICY: (HeaderName, &str) = (
    header::CONTENT_SECURITY_POLICY,
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'",
);
/// A mail's HTML is somebody else's document: no scripts, no origin, and links open in a tab of their own.
pub(super) const MAIL_POLICY: (HeaderName, &str) = (
    header::CONTENT_SECURITY_POLICY,
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: https:; sandbox allow-popups allow-popups-to-escape-sandbox",
);

pub(super) async fn serve(listener: TcpListener, inbox: Arc<Inbox>, gallery: Gallery) {
    let routes = Router::new()
        .route("/", get(list))
        .route("/messages/{id}", get(detail))
        .route("/messages/{id}/html", get(html))
        .route("/messages/{id}/source", get(source))
        .route("/api/messages", get(api_list).delete(api_empty))
        .route("/api/messages/{id}", get(api_detail))
        .route("/mailbox.js", get(async || ([(header::CONTENT_TYPE, "text/javascript")], page::SCRIPT)))
        .route("/mailbox.css", get(async || ([(header::CONTENT_TYPE, "text/css")], page::STYLE)))
        .with_state(inbox)
        .merge(templates::routes(gallery));
    // Ends only with the task that runs it.
    let _ = axum::serve(listener, routes).await;
}

async fn list(State(inbox): Mails, RawQuery(query): RawQuery) -> Response {
    let to = recipient(query.as_deref());
    let mails = inbox.to(to.as_deref());
    ([PAGE_POLICY], Html(page::list(&mails, to.as_deref()))).into_response()
}

async fn detail(State(inbox): Mails, Path(id): Path<Uuid>) -> Response {
    match inbox.by_id(id) {
        Some((mail, _)) => ([PAGE_POLICY], Html(page::detail(&mail))).into_response(),
        None => gone(),
    }
}

async fn html(State(inbox): Mails, Path(id): Path<Uuid>) -> Response {
    match inbox.by_id(id) {
        Some((mail, _)) => ([MAIL_POLICY], Html(page::opening_links_outside(&mail.html))).into_response(),
        None => gone(),
    }
}

async fn source(State(inbox): Mails, Path(id): Path<Uuid>) -> Response {
    match inbox.by_id(id) {
        Some((_, source)) => {
            let plain = [
                (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (plain, source).into_response()
        }
        None => gone(),
    }
}

async fn api_list(State(inbox): Mails, RawQuery(query): RawQuery) -> Response {
    json(&inbox.to(recipient(query.as_deref()).as_deref()))
}

async fn api_detail(State(inbox): Mails, Path(id): Path<Uuid>) -> Response {
    inbox.by_id(id).map_or_else(gone, |(mail, _)| json(&mail))
}

async fn api_empty(State(inbox): Mails, RawQuery(query): RawQuery) -> StatusCode {
    inbox.empty(recipient(query.as_deref()).as_deref());
    StatusCode::NO_CONTENT
}

fn recipient(query: Option<&str>) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, value)| name == "to" && !value.is_empty()).map(|(_, value)| value.into_owned())
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn gone() -> Response {
    (StatusCode::NOT_FOUND, "There is no such mail (any more).\n").into_response()
}
