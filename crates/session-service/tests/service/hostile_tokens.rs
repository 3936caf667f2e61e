use auth_proto::session::v1::{InactiveReason, ValidateRequest, ValidateResponse};
use tonic::Code;

use crate::harness::{new_user, start};

#[tokio::test(flavor = "multi_thread")]
async fn tok_01_whoever_presents_a_faulty_token_gets_one_and_the_same_answer() {
    let (_database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    assert!(service.validate(&token).await.active);
    let (middle, end) = (token.len() / 2, token.len() - 1);
    let (body, footer) = token.rsplit_once('.').unwrap();
    let flipped = |at: usize| {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &token[..at], &token[at + 1..])
    };
    let refused = ValidateResponse { reason: InactiveReason::Invalid.into(), ..ValidateResponse::default() };
    for faulty in [
        String::new(),
        token[..end].to_owned(),
        token[1..].to_owned(),
        flipped(12),
        flipped(middle),
        flipped(end),
        format!("{token}="),
        format!("{token}.AAAA"),
        format!(" {token}"),
        format!("{token}\n"),
        body.to_owned(),
        format!("{body}.{footer}{footer}"),
        token.to_lowercase(),
        token.to_uppercase(),
        token.replace("v4.public", "v4.local"),
        token.replace("v4.public", "v3.public"),
        "A".repeat(8 * 1024),
        format!("{token}{}", "A".repeat(60_000)),
    ] {
        assert_eq!(service.validate(&faulty).await, refused, "{faulty:.80}");
    }
    // That is more than a message may have, and never gets as far as to be a token.
    let huge = ValidateRequest { access_token: "A".repeat(1024 * 1024 + 1), ..ValidateRequest::default() };
    let status = service.client.clone().validate(huge).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(service.validate(&token).await.active);
}
