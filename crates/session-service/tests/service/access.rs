//! Who may call what, proved by certificates.

use auth_proto::session::v1::{
    ElevateSessionRequest, GetPublicKeysRequest, ListSessionsRequest, RefreshRequest, RevokeSessionRequest,
    RevokeUserSessionsRequest, ValidateRequest, session_service_client::SessionServiceClient,
};
use dev_stack::certificates::DevelopmentCa;
use service_runtime::{TlsIdentity, Transport};
use test_support::eventually;
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use crate::harness::{Client, DEADLINE, Running, Setup, facts, login, new_database, new_user, reason};

fn client(ca: &DevelopmentCa, service: &Running, role: Option<&str>) -> Client {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.ca_pem())).domain_name("localhost");
    if let Some(role) = role {
        let leaf = ca.issue(role).unwrap();
        tls = tls.identity(Identity::from_pem(leaf.cert_pem, leaf.key_pem));
    }
    let address = format!("https://{}", service.address);
    let endpoint = Channel::from_shared(address).unwrap().tls_config(tls).unwrap();
    SessionServiceClient::new(endpoint.connect_lazy())
}

/// The code of each method in the order of the proto, when `client` calls it with something harmless.
async fn codes(mut client: Client) -> [Code; 8] {
    let code = |refused: Option<tonic::Status>| refused.map_or(Code::Ok, |status| status.code());
    [
        code(client.create_session(login(&new_user())).await.err()),
        code(client.validate(ValidateRequest::default()).await.err()),
        code(client.refresh(RefreshRequest::default()).await.err()),
        code(client.revoke_session(RevokeSessionRequest::default()).await.err()),
        code(client.revoke_user_sessions(RevokeUserSessionsRequest::default()).await.err()),
        code(client.elevate_session(ElevateSessionRequest::default()).await.err()),
        code(client.list_sessions(ListSessionsRequest { user_id: new_user() }).await.err()),
        code(client.get_public_keys(GetPublicKeysRequest {}).await.err()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_call_its_methods_and_no_others() {
    let database = new_database().await;
    let ca = DevelopmentCa::generate().unwrap();
    let leaf = ca.issue("session-service").unwrap();
    let transport = Transport::MutualTls(TlsIdentity {
        ca: ca.ca_pem().into_bytes(),
        certificate: leaf.cert_pem.into_bytes(),
        key: leaf.key_pem.into_bytes(),
    });
    let service = Setup { transport, ..Setup::on(&database) }.start_ready().await;

    // Refresh and what follows it are called with nothing: whoever may call them is told what is missing.
    let (ok, no, bad) = (Code::Ok, Code::PermissionDenied, Code::InvalidArgument);
    let table = [
        ("auth-api", [ok, ok, Code::Unauthenticated, bad, bad, bad, ok, ok]),
        ("internal/billing", [no, ok, no, no, no, no, no, ok]),
        ("operator", [no, no, no, no, no, no, no, ok]),
        ("mailer", [no, no, no, no, no, no, no, no]),
        ("audit-service", [no, no, no, no, no, no, no, no]),
    ];
    for (role, expected) in table {
        assert_eq!(codes(client(&ca, &service, Some(role))).await, expected, "{role}");
    }
    let refused =
        client(&ca, &service, Some("mailer")).validate(ValidateRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::PermissionDenied, "caller_not_allowed".to_owned()));
    let told = eventually("the refused calls to be told", DEADLINE, || async {
        let told = facts(&database, "auth.system.access_denied").await;
        (told.len() == 30).then_some(told)
    })
    .await;
    assert!(told.iter().all(|fact| fact["data"]["outcome"] == "denied"));
    let creations = told.iter().filter(|fact| {
        fact["data"]["actor"]["name"] == "internal/billing"
            && fact["data"]["detail"]["method"] == "/feature_auth.session.v1.SessionService/CreateSession"
    });
    assert_eq!(creations.count(), 1);

    let strangers = DevelopmentCa::generate().unwrap();
    assert!(codes(client(&ca, &service, None)).await.iter().all(|code| *code != Code::Ok));
    assert!(codes(client(&strangers, &service, Some("auth-api"))).await.iter().all(|code| *code != Code::Ok));
}
