//! What operators do about mails, over gRPC, with a mailer that runs.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    lanes::{Surroundings, poison},
    support::{DEADLINE, Order},
};
use auth_events::{
    commands::{Lane, Locale, MailTemplate},
    routing::MAILER_DEAD_QUEUE,
};
use auth_proto::mailer::v1::{
    BreakerState, CancelRequest, DeadLetterSource, GetMessageRequest, GetMessageResponse,
    ListDeadLettersRequest, MessageState, ProviderStatusRequest, RedriveRequest, RenderPreviewRequest,
    RetryRequest, SendTestRequest, mailer_service_client::MailerServiceClient,
};
use clock::SystemClock;
use dev_stack::mailbox::SmtpFault;
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use service_error::error_reason;
use test_support::eventually;
use tonic::transport::Channel;

type Client = MailerServiceClient<Channel>;

async fn client(address: SocketAddr) -> Client {
    MailerServiceClient::connect(format!("http://{address}")).await.unwrap()
}

async fn wait_for_state(client: &Client, id: &str, state: MessageState) -> GetMessageResponse {
    eventually("the state", DEADLINE, || async {
        let request = GetMessageRequest { id: id.to_owned() };
        let found = client.clone().get_message(request).await.ok()?.into_inner();
        (found.message.as_ref()?.state() == state).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_mail_is_tried_again_and_keeps_its_message_id() {
    let it = Surroundings::new().await;
    let (mailer, address) = it.start(Arc::new(SystemClock)).await;
    let mut client = client(address).await;
    let order = Order::verify_email("ada@example.test");
    let id = order.id.to_string();
    it.mailbox.set_fault(Some(SmtpFault::Permanent));
    it.publish(vec![order.message(&it.keys.public)]).await;
    let failed = wait_for_state(&client, &id, MessageState::Failed).await.message.unwrap();
    assert!(failed.retryable && failed.failure == "refused" && failed.last_reply.starts_with("550"));

    it.mailbox.set_fault(None);
    // Who wants it tried again wants it tried, whatever happened before.
    let mut conn = it.database.admin().connection().await.unwrap();
    sql_query("UPDATE messages SET crashes = 5").execute(&mut conn).await.unwrap();
    let request = RetryRequest { id: id.clone(), actor: "ada@operators".to_owned() };
    client.retry(request.clone()).await.unwrap();
    let sent = wait_for_state(&client, &id, MessageState::Sent).await;
    let states: Vec<_> = sent.history.iter().map(|it| (it.state(), it.attempt, it.actor.as_str())).collect();
    assert_eq!(
        states,
        [
            (MessageState::Queued, 0, ""),
            (MessageState::Sending, 1, ""),
            (MessageState::Failed, 1, ""),
            (MessageState::Queued, 1, "ada@operators"),
            (MessageState::Sending, 2, ""),
            (MessageState::Sent, 2, ""),
        ]
    );
    let mail = it.mailbox.wait_for("ada@example.test", DEADLINE).await.unwrap();
    assert_eq!(mail.message_id.map(|id| format!("<{id}>")), sent.message.map(|it| it.message_id));

    let again = client.retry(request).await.unwrap_err();
    assert_eq!(error_reason(&again).as_deref(), Some("message_not_retryable"));
    let cancel = CancelRequest { id, actor: String::new() };
    let cancelled = client.cancel(cancel).await.unwrap_err();
    assert_eq!(error_reason(&cancelled).as_deref(), Some("message_not_cancellable"));
    Surroundings::stop(mailer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_waits_is_tried_at_once_or_given_up() {
    let it = Surroundings::new().await;
    let (mailer, address) = it.start(Arc::new(SystemClock)).await;
    let mut client = client(address).await;
    let (wanted, unwanted) =
        (Order::verify_email("ada@example.test"), Order::verify_email("bob@example.test"));
    it.mailbox.set_fault(Some(SmtpFault::Transient));
    it.publish(vec![wanted.message(&it.keys.public), unwanted.message(&it.keys.public)]).await;
    for order in [&wanted, &unwanted] {
        wait_for_state(&client, &order.id.to_string(), MessageState::Deferred).await;
    }
    it.mailbox.set_fault(None);
    let cancel = CancelRequest { id: unwanted.id.to_string(), actor: String::new() };
    let cancelled = client.cancel(cancel).await.unwrap().into_inner().message.unwrap();
    assert_eq!(cancelled.state(), MessageState::Cancelled);
    client.retry(RetryRequest { id: wanted.id.to_string(), actor: String::new() }).await.unwrap();
    wait_for_state(&client, &wanted.id.to_string(), MessageState::Sent).await;
    // What the broker still holds of the one that was given up comes back to nothing.
    let bulk = format!("{}.retry.10s", "mailer.send.security");
    eventually("the delay to be over", DEADLINE, || async {
        (it.broker.queue_length(&bulk).await == 0).then_some(())
    })
    .await;
    Surroundings::stop(mailer).await;
    assert!(it.mailbox.messages_to("bob@example.test").is_empty());
    assert_eq!(it.mailbox.messages_to("ada@example.test").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_both_kinds_are_seen_with_their_reasons_and_brought_back() {
    let it = Surroundings::new().await;
    let (mailer, address) = it.start(Arc::new(SystemClock)).await;
    let mut client = client(address).await;
    let order = Order::verify_email("ada@example.test");
    it.mailbox.set_fault(Some(SmtpFault::Permanent));
    it.publish(vec![poison(Lane::Notice, b"{}"), order.message(&it.keys.public)]).await;
    wait_for_state(&client, &order.id.to_string(), MessageState::Failed).await;
    eventually("the dead letter", DEADLINE, || async {
        (it.broker.queue_length(MAILER_DEAD_QUEUE).await == 1).then_some(())
    })
    .await;

    let page = client.list_dead_letters(ListDeadLettersRequest::default()).await.unwrap().into_inner();
    let letters: Vec<_> = page
        .dead_letters
        .iter()
        .map(|it| (it.source(), it.reason.as_str(), it.to.as_str(), it.queue.as_str()))
        .collect();
    assert_eq!(
        letters,
        [
            (DeadLetterSource::Message, "refused", "ada@example.test", ""),
            (DeadLetterSource::Broker, "not_an_envelope", "", "mailer.send.notice"),
        ]
    );
    assert_eq!(page.in_broker, 1);

    it.mailbox.set_fault(None);
    let ids =
        vec![order.id.to_string(), "poison".to_owned(), "01890000-0000-7000-8000-000000000000".to_owned()];
    let request = RedriveRequest { ids, ..RedriveRequest::default() };
    let redriven = client.redrive(request).await.unwrap().into_inner();
    assert_eq!((redriven.redriven, redriven.not_redriven.len()), (2, 1));
    wait_for_state(&client, &order.id.to_string(), MessageState::Sent).await;
    // Poison is still poison: it is back where it was.
    eventually("the poison", DEADLINE, || async {
        (it.broker.queue_length(MAILER_DEAD_QUEUE).await == 1).then_some(())
    })
    .await;
    for wrong in [
        RedriveRequest::default(),
        RedriveRequest { ids: vec!["x".to_owned()], all: true, ..RedriveRequest::default() },
        RedriveRequest { ids: vec!["x".to_owned(); 101], ..RedriveRequest::default() },
    ] {
        let status = client.redrive(wrong).await.unwrap_err();
        assert_eq!(error_reason(&status).as_deref(), Some("selection_invalid"));
    }
    Surroundings::stop(mailer).await;
    assert_eq!(it.mailbox.messages_to("ada@example.test").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_mail_goes_the_way_of_every_other_and_previews_open_nothing() {
    let it = Surroundings::new().await;
    let (mailer, address) = it.start(Arc::new(SystemClock)).await;
    let mut client = client(address).await;
    let request = SendTestRequest { to: "ada@example.test".to_owned(), locale: "de".to_owned() };
    let id = client.send_test(request).await.unwrap().into_inner().id;
    let sent = wait_for_state(&client, &id, MessageState::Sent).await.message.unwrap();
    assert_eq!(
        (sent.template.as_str(), sent.locale.as_str(), sent.provider.as_str()),
        ("test", "de", "smtp")
    );
    it.mailbox.wait_for("ada@example.test", DEADLINE).await.unwrap();
    for (to, locale, reason) in
        [("ada", "en", "recipient_invalid"), ("ada@example.test", "fr", "locale_invalid")]
    {
        let request = SendTestRequest { to: to.to_owned(), locale: locale.to_owned() };
        let status = client.send_test(request).await.unwrap_err();
        assert_eq!(error_reason(&status).as_deref(), Some(reason));
    }

    for template in MailTemplate::ALL {
        for locale in Locale::ALL {
            let request = RenderPreviewRequest {
                template: template.name().to_owned(),
                locale: locale.tag().to_owned(),
            };
            let preview = client.render_preview(request).await.unwrap().into_inner();
            assert!(
                !preview.subject.is_empty() && !preview.text.is_empty() && preview.html.contains("<html")
            );
        }
    }
    let request = RenderPreviewRequest { template: "other".to_owned(), locale: String::new() };
    let status = client.render_preview(request).await.unwrap_err();
    assert_eq!(error_reason(&status).as_deref(), Some("template_invalid"));

    let status = client.provider_status(ProviderStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.providers.len(), 1);
    let provider = &status.providers[0];
    assert_eq!((provider.name.as_str(), provider.breaker()), ("smtp", BreakerState::Closed));
    assert_eq!(provider.address, it.mailbox.smtp_addr().to_string());
    assert!(provider.last_success_at.is_some() && provider.last_error.is_empty());
    Surroundings::stop(mailer).await;
}
