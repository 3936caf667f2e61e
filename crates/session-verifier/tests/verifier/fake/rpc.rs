use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use auth_proto::session::v1::{session_service_server::SessionService, *};
use futures::{Stream, StreamExt, stream::BoxStream};
use tokio::time::interval;
use tonic::{Request, Response, Status};
use watch_revocations_response::Event;

use super::{Answer, Key, State, inactive, now, tokens};

pub struct Rpc(pub Arc<State>);

type Answered<T> = Result<Response<T>, Status>;

macro_rules! not_part_of_it {
    ($($method:ident($request:ty) -> $response:ty;)+) => {
        #[tonic::async_trait]
        impl SessionService for Rpc {
            type WatchRevocationsStream = BoxStream<'static, Result<WatchRevocationsResponse, Status>>;

            async fn watch_revocations(
                &self,
                _request: Request<WatchRevocationsRequest>,
            ) -> Answered<Self::WatchRevocationsStream> {
                self.0.opened.fetch_add(1, Ordering::SeqCst);
                Ok(Response::new(watch(&self.0).boxed()))
            }

            async fn validate(&self, request: Request<ValidateRequest>) -> Answered<ValidateResponse> {
                self.0.asked.lock().push(request.into_inner());
                let answer = self.0.answer.lock().clone();
                Ok(Response::new(validate(&self.0, answer).await?))
            }

            async fn touch(&self, request: Request<TouchRequest>) -> Answered<TouchResponse> {
                let refuse = |left: usize| left.checked_sub(1);
                let refused =
                    self.0.touches_to_refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse);
                if refused.is_ok() {
                    return Err(Status::unavailable("not now"));
                }
                self.0.touched.lock().push(request.into_inner().sightings);
                Ok(Response::new(TouchResponse {}))
            }

            $(async fn $method(&self, _request: Request<$request>) -> Answered<$response> {
                Err(Status::unimplemented("verifiers do not call this"))
            })+
        }
    };
}

not_part_of_it! {
    create_session(CreateSessionRequest) -> CreateSessionResponse;
    validate_batch(ValidateBatchRequest) -> ValidateBatchResponse;
    refresh(RefreshRequest) -> RefreshResponse;
    revoke_session(RevokeSessionRequest) -> RevokeSessionResponse;
    revoke_user_sessions(RevokeUserSessionsRequest) -> RevokeUserSessionsResponse;
    elevate_session(ElevateSessionRequest) -> ElevateSessionResponse;
    update_user_claims(UpdateUserClaimsRequest) -> UpdateUserClaimsResponse;
    list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    get_public_keys(GetPublicKeysRequest) -> GetPublicKeysResponse;
    rotate_keys(RotateKeysRequest) -> RotateKeysResponse;
}

async fn validate(state: &State, answer: Answer) -> Result<ValidateResponse, Status> {
    match answer {
        Answer::Active(claims) => Ok(ValidateResponse {
            active: true,
            claims: Some(tokens::message(&claims)),
            reason: InactiveReason::Unspecified.into(),
        }),
        Answer::Inactive(reason) => Ok(inactive(reason)),
        Answer::After(0, answer) => Box::pin(validate(state, *answer)).await,
        Answer::After(left, answer) => {
            *state.answer.lock() = Answer::After(left - 1, answer);
            Err(Status::unavailable("not now"))
        }
        Answer::Silence => pending().await,
    }
}

/// One stream more, until it is dropped.
struct Counted(Arc<State>);

impl Counted {
    fn new(state: &Arc<State>) -> Self {
        state.streams.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

fn watch(state: &Arc<State>) -> impl Stream<Item = Result<WatchRevocationsResponse, Status>> + use<> {
    let generation = state.generation.subscribe();
    let first = *generation.borrow();
    let news = state.news.subscribe();
    let beginning = futures::stream::iter(beginning(state));
    let counted = Counted::new(state);
    let mut pulse = interval(Duration::from_millis(100));
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let then = futures::stream::unfold((counted, news, generation, pulse), move |parts| async move {
        let (counted, mut news, mut generation, mut pulse) = parts;
        let event = loop {
            tokio::select! {
                biased;
                _ = generation.wait_for(|now| *now != first) => return None,
                event = news.recv() => break event.ok()?,
                _ = pulse.tick() => {
                    let state = &counted.0;
                    if state.has_heartbeats.load(Ordering::SeqCst) && state.completes.load(Ordering::SeqCst) {
                        break Event::Heartbeat(Heartbeat {
                            at: Some(tokens::timestamp(now())),
                            covers_since: Some(covers_since(state)),
                        });
                    }
                }
            }
        };
        Some((event, (counted, news, generation, pulse)))
    });
    beginning.chain(then).map(|event| Ok(WatchRevocationsResponse { event: Some(event) }))
}

fn beginning(state: &State) -> Vec<Event> {
    let keys = state.keys.lock().iter().map(Key::message).collect();
    let mut events = vec![Event::Keys(GetPublicKeysResponse { keys })];
    let parts = state.snapshot.lock().clone();
    let last = parts.len() - 1;
    for (index, revocations) in parts.into_iter().enumerate() {
        let complete = index == last && state.completes.load(Ordering::SeqCst);
        let covers_since = Some(covers_since(state));
        events.push(Event::Snapshot(RevocationSnapshot { revocations, covers_since, complete }));
    }
    events
}

fn covers_since(state: &State) -> prost_types::Timestamp {
    tokens::timestamp(now() - *state.covers.lock())
}
