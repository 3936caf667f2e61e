//! `GetMessage` and `ListMessages`.

use std::sync::Arc;

use crate::support::{Keys, Order, database, mailbox, postman, stopped_clock};
use auth_proto::mailer::v1::{
    GetMessageRequest, ListMessagesRequest, Message, MessageState, mailer_service_server::MailerService,
};
use chrono::TimeDelta;
use dev_stack::mailbox::SmtpFault;
use event_bus::EventBus;
use mailer::{app::deliver::Postman, rpc::MailerRpc};
use prometheus::Registry;
use service_error::error_reason;
use tonic::{Code, Request};

/// The service without a broker.
fn service(postman: Postman, keys: &Keys) -> MailerRpc {
    let nowhere = "amqp://127.0.0.1:9/none".to_owned().into();
    let bus = EventBus::new(&nowhere, "test", &Registry::new()).unwrap();
    MailerRpc::new(Arc::new(postman), bus, keys.public.clone())
}

async fn list(rpc: &MailerRpc, request: ListMessagesRequest) -> (Vec<Message>, String) {
    let response = rpc.list_messages(Request::new(request)).await.unwrap().into_inner();
    (response.messages, response.next_page_token)
}

#[tokio::test]
async fn messages_are_found_and_paged_newest_first() {
    let (database, mailbox, clock, keys) = (database().await, mailbox().await, stopped_clock(), Keys::new());
    let worker = postman(database.database("test"), mailbox.smtp_addr(), clock.clone());
    let rpc = service(postman(database.database("test"), mailbox.smtp_addr(), clock.clone()), &keys);
    let mut orders = Vec::new();
    for n in 0..5 {
        let order = Order::verify_email(&format!("user{n}@example.test"));
        mailbox.set_fault((n == 3).then_some(SmtpFault::Permanent));
        worker.deliver(&order.command(&keys)).await.unwrap();
        // Some at the same moment: their ids decide.
        clock.advance(TimeDelta::milliseconds(n % 2));
        orders.push(order);
    }

    let id = orders[0].id.to_string();
    let got = rpc.get_message(Request::new(GetMessageRequest { id: id.clone() })).await.unwrap();
    let message = got.into_inner().message.unwrap();
    assert_eq!((message.id, message.user_id), (id.clone(), orders[0].user_id.to_string()));
    assert_eq!((message.template.as_str(), message.locale.as_str()), ("verify_email", "en"));
    assert_eq!((message.to.as_str(), message.lane.as_str()), ("user0@example.test", "security"));
    assert_eq!((message.state, message.attempts), (MessageState::Sent.into(), 1));
    assert_eq!(message.message_id, format!("<{id}@auth.example>"));
    assert!(message.sent_at.is_some());

    let (all, none) = list(&rpc, ListMessagesRequest::default()).await;
    assert_eq!((all.len(), none.as_str()), (5, ""));
    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListMessagesRequest { page_size: 2, page_token, ..ListMessagesRequest::default() };
        let (messages, next) = list(&rpc, request).await;
        paged.extend(messages);
        page_token = next;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    assert!(all.is_sorted_by_key(|message| {
        let created_at = message.created_at.unwrap();
        std::cmp::Reverse((created_at.seconds, created_at.nanos, message.id.clone()))
    }));

    let to = ListMessagesRequest { to: "user2@example.test".to_owned(), ..ListMessagesRequest::default() };
    assert_eq!(list(&rpc, to).await.0.len(), 1);
    let user =
        ListMessagesRequest { user_id: orders[4].user_id.to_string(), ..ListMessagesRequest::default() };
    assert_eq!(list(&rpc, user).await.0[0].to, "user4@example.test");
    let failed = ListMessagesRequest { state: MessageState::Failed.into(), ..ListMessagesRequest::default() };
    assert_eq!(list(&rpc, failed).await.0[0].to, "user3@example.test");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_reason() {
    let (database, mailbox) = (database().await, mailbox().await);
    let rpc = service(postman(database.database("test"), mailbox.smtp_addr(), stopped_clock()), &Keys::new());
    let get = async |id: &str| {
        rpc.get_message(Request::new(GetMessageRequest { id: id.to_owned() })).await.unwrap_err()
    };
    let unknown = get("01890000-0000-7000-8000-000000000000").await;
    assert_eq!(
        (unknown.code(), error_reason(&unknown).as_deref()),
        (Code::NotFound, Some("message_not_found"))
    );
    let invalid = get("x").await;
    assert_eq!(
        (invalid.code(), error_reason(&invalid).as_deref()),
        (Code::InvalidArgument, Some("message_id_invalid"))
    );
    let default = ListMessagesRequest::default;
    for (request, reason) in [
        (ListMessagesRequest { user_id: "x".to_owned(), ..default() }, "user_id_invalid"),
        (ListMessagesRequest { state: 77, ..default() }, "state_invalid"),
        (ListMessagesRequest { page_size: 101, ..default() }, "page_size_invalid"),
        (ListMessagesRequest { page_token: "x".to_owned(), ..default() }, "page_token_invalid"),
    ] {
        let status = rpc.list_messages(Request::new(request)).await.unwrap_err();
        assert_eq!((status.code(), error_reason(&status).as_deref()), (Code::InvalidArgument, Some(reason)));
    }
}
