//! A person is forgotten and the chain still proves itself.

use auth_proto::audit::v1::{EraseSubjectRequest, Event, SearchRequest, VerifyChainRequest};
use serde_json::json;
use tonic::Code;

use crate::{
    cli,
    facts::{id, login, message, user},
    running::Running,
    sql,
};

const ADDRESS: &str = "192.0.2.7";

async fn found(audit: &Running, request: SearchRequest) -> Vec<Event> {
    audit.client.clone().search(request).await.unwrap().into_inner().events
}

async fn about(audit: &Running, subject: impl ToString) -> Vec<Event> {
    found(audit, SearchRequest { subject_id: subject.to_string(), ..SearchRequest::default() }).await
}

async fn at(audit: &Running, ip: &str) -> usize {
    found(audit, SearchRequest { ip: ip.to_owned(), ..SearchRequest::default() }).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_11_an_erased_person_is_forgotten_and_the_chain_is_whole() {
    let audit = Running::start().await;
    let (gone, stays) = (user(), user());
    let mut with_address = login(gone);
    with_address["data"]["detail"]["identifierHash"] = json!("personal-hash");
    audit.publish(vec![message(&with_address), message(&login(gone)), message(&login(stays))]).await;
    audit.wait_for_rows(3).await;
    let before = about(&audit, gone).await;
    assert!(before.iter().all(|event| event.ip == ADDRESS && event.user_agent == "curl/8" && !event.erased));
    assert_eq!(at(&audit, ADDRESS).await, 3);

    let request = EraseSubjectRequest {
        subject_id: gone.to_string(),
        reason: "account_deleted".to_owned(),
        actor_id: String::new(),
    };
    let erased = audit.client.clone().erase_subject(request.clone()).await.unwrap().into_inner();
    assert!(erased.changed);
    let again = audit.client.clone().erase_subject(request.clone()).await.unwrap().into_inner();
    assert_eq!((again.changed, again.erased_at), (false, erased.erased_at));

    // What happened is still there; who and where from is not, and is not found by it.
    let after = about(&audit, gone).await;
    assert_eq!(after.len(), 3, "{after:?}");
    let erasure = after.iter().find(|event| event.r#type == "system.subject_erased").unwrap();
    assert_eq!((&*erasure.reason, &*erasure.outcome), ("account_deleted", "success"));
    for event in after.iter().filter(|event| event.r#type == "auth.login") {
        assert!(event.erased && event.ip.is_empty() && event.user_agent.is_empty(), "{event:?}");
        let detail = event.detail.as_ref().unwrap();
        assert_eq!(detail.fields.keys().collect::<Vec<_>>(), ["methods"]);
    }
    assert_eq!(at(&audit, ADDRESS).await, 1);
    let others = about(&audit, stays).await;
    assert!(others.iter().all(|event| event.ip == ADDRESS && !event.erased));

    // What comes late changes nothing about that.
    let late = login(gone);
    audit.publish(vec![message(&late)]).await;
    audit.wait_for_rows(5).await;
    let late = about(&audit, gone).await.into_iter().find(|event| event.id == id(&late)).unwrap();
    assert!(late.ip.is_empty() && late.user_agent.is_empty(), "{late:?}");
    assert_eq!(at(&audit, ADDRESS).await, 1);
    let keys = "(SELECT count(*) FROM subject_keys WHERE sealed IS NOT NULL)";
    assert_eq!(sql::number(&audit.admin, keys).await, 1);

    let proof = audit.client.clone().verify_chain(VerifyChainRequest::default()).await.unwrap().into_inner();
    assert_eq!((proof.events, proof.damage, proof.next_seq), (5, None, 0));
    let (said, code) = cli::verify(&audit.database, None);
    assert_eq!(code, Some(0), "{said}");
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_makes_no_sense_is_refused() {
    let audit = Running::start().await;
    let good = EraseSubjectRequest {
        subject_id: user().to_string(),
        reason: "asked".to_owned(),
        actor_id: String::new(),
    };
    for request in [
        EraseSubjectRequest { subject_id: "me".to_owned(), ..good.clone() },
        EraseSubjectRequest { subject_id: String::new(), ..good.clone() },
        EraseSubjectRequest { reason: String::new(), ..good.clone() },
        EraseSubjectRequest { reason: "Because I say so".to_owned(), ..good.clone() },
        EraseSubjectRequest { actor_id: "me".to_owned(), ..good },
    ] {
        let refusal = audit.client.clone().erase_subject(request).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
    }
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_is_in_the_tables() {
    let audit = Running::start().await;
    let mut envelope = login(user());
    envelope["data"]["detail"]["identifierHash"] = json!("personal-hash");
    audit.publish(vec![message(&envelope)]).await;
    audit.wait_for_rows(1).await;
    for secret in [ADDRESS, "curl/8", "personal-hash"] {
        for table in ["events", "ip_tags", "event_ids", "subject_keys", "shared_keys"] {
            let rows = format!("(SELECT count(*) FROM {table} AS row WHERE row::text LIKE '%{secret}%')");
            assert_eq!(sql::number(&audit.admin, &rows).await, 0, "{secret} in {table}");
        }
    }
    audit.stop_and_expect_an_empty_queue().await;
}
