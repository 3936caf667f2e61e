//! The audit log, as an operator reads it.

use auth_proto::audit::v1::{Event, SearchRequest};
use test_support::eventually;

use crate::{
    Stack,
    grpc::{self, As},
    stack::PATIENCE,
};

/// Every event about a user, the oldest first.
pub async fn events_about(stack: &Stack, subject_id: &str) -> Vec<Event> {
    let request =
        SearchRequest { subject_id: subject_id.to_owned(), page_size: 100, ..SearchRequest::default() };
    let mut events = grpc::audit(stack, As::Operator).search(request).await.unwrap().into_inner().events;
    events.reverse();
    events
}

/// Waits until there are `count` events about a user; their types, sorted.
pub async fn types_about(stack: &Stack, subject_id: &str, count: usize) -> Vec<String> {
    eventually("the audit log has every step", PATIENCE, || async {
        let events = events_about(stack, subject_id).await;
        let mut types: Vec<String> = events.into_iter().map(|event| event.r#type).collect();
        types.sort();
        (types.len() >= count).then_some(types)
    })
    .await
}
