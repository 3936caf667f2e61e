//! A call, and what is done when a replica does not answer it.
//!
//! What certainly was not processed is repeated, whatever the method. What may have been is repeated once, if the method only reads.

use std::{pin::pin, time::Duration};

use futures::{FutureExt, future::select_ok};
use http::{Request, Response, request::Parts};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::body::Body;

use crate::{
    answered_by::AnsweredBy, client_connection::ClientConnection, deadline, failure::Failure,
    payload::Payload, replicas::Replicas,
};

const MOST_ATTEMPTS: usize = 3;
/// How long one replica may think about a call that another may be asked too. Of the 800 ms that a call usually has, it leaves the
/// other enough.
const PATIENCE: Duration = Duration::from_millis(300);

pub(crate) struct Call {
    pub head: Parts,
    pub payload: Payload,
    pub deadline: Instant,
    /// Whether it changes nothing, so that two replicas may do it.
    pub only_reads: bool,
}

/// Sends the call until a replica has answered it, or until nothing more can be done for it.
pub(crate) async fn perform(replicas: &Replicas, mut call: Call) -> Result<Response<Body>, Failure> {
    let mut tried: Vec<ClientConnection> = Vec::new();
    let mut may_be_processed_twice = call.only_reads && call.payload.is_whole();
    let mut connection = reach(replicas, &tried, call.deadline).await?;
    loop {
        tried.push(connection.clone());
        let tried_before = tried.len();
        let asked = if may_be_processed_twice {
            ask_two(replicas, connection, &mut tried, &mut call).await
        } else {
            ask(replicas, connection, &mut call).await
        };
        let failure = match asked {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        if !call.payload.is_whole() || tried.len() >= MOST_ATTEMPTS {
            return Err(failure);
        }
        may_be_processed_twice &= tried.len() == tried_before;
        if !failure.is_before_processing() {
            if !(may_be_processed_twice && failure.is_of_replica()) {
                return Err(failure);
            }
            may_be_processed_twice = false;
        }
        let other = if failure.ends_connection() {
            reach(replicas, &tried, call.deadline).await.ok()
        } else {
            replicas.pick(&tried)
        };
        let Some(other) = other else { return Err(failure) };
        connection = other;
    }
}

/// A connection to a replica that was not tried, waited for if there must be.
async fn reach(
    replicas: &Replicas,
    tried: &[ClientConnection],
    deadline: Instant,
) -> Result<ClientConnection, Failure> {
    match timeout_at(deadline, replicas.connection(tried)).await {
        Ok(connection) => connection.map_err(Failure::Unreachable),
        Err(_elapsed) => Err(Failure::Unreachable(replicas.problem())),
    }
}

/// Asks one replica, and a second one when the first is slow. The first good answer counts.
async fn ask_two(
    replicas: &Replicas,
    connection: ClientConnection,
    tried: &mut Vec<ClientConnection>,
    call: &mut Call,
) -> Result<Response<Body>, Failure> {
    let heard = connection.heard();
    let mut first = ask(replicas, connection.clone(), call).boxed();
    if let Ok(answer) = timeout(PATIENCE, &mut first).await {
        return answer;
    }
    connection.suspect(heard);
    let Some(other) = replicas.pick(tried) else { return first.await };
    tried.push(other.clone());
    let second = ask(replicas, other, call).boxed();
    let (answer, _slower) = select_ok([first, second]).await?;
    Ok(answer)
}

/// Asks one replica.
fn ask<'a>(
    replicas: &'a Replicas,
    connection: ClientConnection,
    call: &mut Call,
) -> impl Future<Output = Result<Response<Body>, Failure>> + Send + use<'a> {
    let deadline = call.deadline;
    let request = call.request();
    let heard = connection.heard();
    async move {
        let Some(request) = request else { return Err(Failure::Late) };
        let sent = pin!(connection.clone().send(request));
        let Ok(answer) = timeout_at(deadline, sent).await else {
            connection.suspect(heard);
            return Err(Failure::Late);
        };
        match answer.and_then(Failure::unless_failed) {
            Ok(mut answer) => {
                answer.extensions_mut().insert(AnsweredBy { connection, replicas: replicas.clone() });
                Ok(answer)
            }
            Err(failure) => {
                if failure.ends_connection() {
                    replicas.give_up(&connection);
                }
                Err(failure)
            }
        }
    }
}

impl Call {
    fn request(&mut self) -> Option<Request<Body>> {
        let mut request = Request::from_parts(self.head.clone(), self.payload.body()?);
        deadline::write(request.headers_mut(), self.deadline.saturating_duration_since(Instant::now()));
        Some(request)
    }
}
