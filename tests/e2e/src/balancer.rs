//! What a load balancer in front of auth-api does.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, RequestBuilder, Response};

use crate::Stack;

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whether a request may reach a second replica when the first one might have done it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Harmless,
    Harmful,
}

/// Sends each request to the next replica that is ready.
#[derive(Clone)]
pub struct Balancer {
    http: Client,
    replicas: Arc<[Replica]>,
    next: Arc<AtomicUsize>,
}

struct Replica {
    api: String,
    readyz: String,
    is_ready: AtomicBool,
}

impl Balancer {
    /// In front of the first auth-api alone.
    #[must_use]
    pub fn of_one(stack: &Stack) -> Self {
        Self::of(stack, &[("API_URL", "AUTH_API_MGMT")])
    }

    /// In front of both auth-apis.
    #[must_use]
    pub fn of_both(stack: &Stack) -> Self {
        Self::of(stack, &[("API_URL", "AUTH_API_MGMT"), ("API_URL_2", "AUTH_API_MGMT_2")])
    }

    fn of(stack: &Stack, replicas: &[(&str, &str)]) -> Self {
        let replicas = replicas.iter().map(|(api, management)| Replica {
            api: stack.variable(api),
            readyz: format!("{}/readyz", stack.variable(management)),
            is_ready: AtomicBool::new(true),
        });
        // Shorter than auth-api keeps a connection: a request must not meet its end.
        let http = Client::builder().pool_idle_timeout(Duration::from_secs(2)).build().unwrap();
        Self { http, replicas: replicas.collect(), next: Arc::default() }
    }

    /// Looks again and again which replicas are ready. One that is too busy to say stays what it was, as it does in Kubernetes until several
    /// probes in a row got no answer.
    pub async fn look_after_readiness(&self) -> Infallible {
        loop {
            for replica in self.replicas.iter() {
                match self.http.get(&replica.readyz).timeout(LOOK_EVERY).send().await {
                    Ok(answer) => replica.is_ready.store(answer.status().is_success(), Ordering::Relaxed),
                    Err(error) if error.is_timeout() => {}
                    Err(_) => replica.is_ready.store(false, Ordering::Relaxed),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether it has seen that all replicas are ready.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.replicas.iter().all(|replica| replica.is_ready.load(Ordering::Relaxed))
    }

    /// Sends a request, made for the address of a replica. It goes to the other replica too when the first did not take the connection, and
    /// a harmless one also when the connection was closed before an answer began.
    pub async fn send(
        &self,
        repeat: Repeat,
        prepare: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> Result<Response, String> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.replicas.len();
        let mut problem = "no replica is ready".to_owned();
        let in_turn = self.replicas.iter().cycle().skip(first % count).take(count);
        for replica in in_turn.filter(|replica| replica.is_ready.load(Ordering::Relaxed)) {
            match prepare(&self.http, &replica.api).send().await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let goes_on = error.is_connect() || repeat == Repeat::Harmless;
                    problem = format!("{error:?}");
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        Err(problem)
    }
}
