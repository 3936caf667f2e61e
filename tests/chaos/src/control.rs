//! Faults by HTTP, for drills by hand.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{Cut, Direction, Faults, Proxy, Trigger, patterns};

/// The proxies by their names.
pub type Routes = Arc<BTreeMap<String, Mutex<Proxy>>>;

/// A trigger, as the body of a request.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TriggerBody {
    /// `amqp_publish`, `amqp_ack`, `sql_commit`, `smtp_dot`, or the bytes themselves as text.
    pattern: String,
    #[serde(default = "to_server")]
    direction: Direction,
    #[serde(default = "instead_of_answer")]
    cut: Cut,
    /// How often it passes between two resets.
    #[serde(default)]
    every: usize,
    times: Option<usize>,
}

fn to_server() -> Direction {
    Direction::ToServer
}

fn instead_of_answer() -> Cut {
    Cut::InsteadOfAnswer
}

/// The interface; the README lists it.
pub fn router(routes: Routes) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/{route}", get(show))
        .route("/{route}/faults", put(suffer))
        .route("/{route}/trigger", put(arm).delete(disarm))
        .route("/{route}/half-close/{direction}", post(half_close))
        .route("/{route}/{order}", post(order))
        .with_state(routes)
}

async fn list(State(routes): State<Routes>) -> Response {
    let mut list = serde_json::Map::new();
    for (name, proxy) in routes.iter() {
        list.insert(name.clone(), describe(&*proxy.lock().await));
    }
    answer(&Value::Object(list))
}

async fn show(State(routes): State<Routes>, Path(route): Path<String>) -> Response {
    with(&routes, &route, async |_| Ok(())).await
}

async fn suffer(State(routes): State<Routes>, Path(route): Path<String>, body: Bytes) -> Response {
    with(&routes, &route, async |proxy| {
        let faults: Faults = serde_json::from_slice(&body).map_err(|why| why.to_string())?;
        proxy.suffer(faults);
        Ok(())
    })
    .await
}

async fn arm(State(routes): State<Routes>, Path(route): Path<String>, body: Bytes) -> Response {
    with(&routes, &route, async |proxy| {
        let body: TriggerBody = serde_json::from_slice(&body).map_err(|why| why.to_string())?;
        let pattern = match body.pattern.as_str() {
            "" => return Err("the pattern is empty".to_owned()),
            "amqp_publish" => patterns::AMQP_PUBLISH,
            "amqp_ack" => patterns::AMQP_ACK,
            "sql_commit" => patterns::SQL_COMMIT,
            "smtp_dot" => patterns::SMTP_DOT,
            text => text.as_bytes(),
        };
        let trigger = Trigger::on(pattern).going(body.direction).cutting(body.cut).every(body.every);
        proxy.arm(trigger.times(body.times.unwrap_or(usize::MAX)));
        Ok(())
    })
    .await
}

async fn disarm(State(routes): State<Routes>, Path(route): Path<String>) -> Response {
    with(&routes, &route, async |proxy| {
        proxy.disarm();
        Ok(())
    })
    .await
}

async fn half_close(
    State(routes): State<Routes>,
    Path((route, direction)): Path<(String, Direction)>,
) -> Response {
    with(&routes, &route, async |proxy| {
        proxy.half_close(direction);
        Ok(())
    })
    .await
}

async fn order(State(routes): State<Routes>, Path((route, order)): Path<(String, String)>) -> Response {
    with(&routes, &route, async |proxy| {
        match order.as_str() {
            "vanish" => proxy.vanish().await,
            "appear" if proxy.is_present() => {}
            "appear" => proxy.appear().await,
            "reset" => proxy.reset(),
            "recover" => {
                proxy.disarm();
                proxy.recover();
            }
            _ => return Err("the orders are vanish, appear, reset and recover".to_owned()),
        }
        Ok(())
    })
    .await
}

/// Does something to a route, and says how it is then.
async fn with(
    routes: &Routes,
    route: &str,
    change: impl AsyncFnOnce(&mut Proxy) -> Result<(), String>,
) -> Response {
    let Some(proxy) = routes.get(route) else {
        return (StatusCode::NOT_FOUND, "there is no such route\n").into_response();
    };
    let mut proxy = proxy.lock().await;
    match change(&mut proxy).await {
        Ok(()) => answer(&describe(&proxy)),
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    }
}

fn describe(proxy: &Proxy) -> Value {
    json!({
        "listen": proxy.address().to_string(),
        "present": proxy.is_present(),
        "faults": proxy.faults(),
        "counts": proxy.counts(),
    })
}

fn answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}
