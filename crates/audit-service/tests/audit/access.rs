use std::time::Duration;

use audit_service::startup::migrations;
use auth_proto::audit::v1::{
    EraseSubjectRequest, ExportRequest, GetRequest, ListCheckpointsRequest, SearchRequest, StatsRequest,
    TailRequest, VerifyChainRequest, audit_service_client::AuditServiceClient,
};
use dev_stack::certificates::DevelopmentCa;
use service_runtime::{
    TlsIdentity, Transport,
    grpc::{Channel, connect_lazy},
};
use test_support::TestDatabase;
use tonic::{Code, Request, Status};

use crate::{
    facts::{login, parsed, user},
    running::Running,
};

fn identity(ca: &DevelopmentCa, role: &str) -> TlsIdentity {
    let leaf = ca.issue(role).unwrap();
    TlsIdentity { ca: ca.ca_pem().into(), certificate: leaf.cert_pem.into(), key: leaf.key_pem.into() }
}

fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(10));
    request
}

fn client(audit: &Running, caller: TlsIdentity) -> AuditServiceClient<Channel> {
    let address = format!("https://{}", audit.grpc_addr).parse().unwrap();
    AuditServiceClient::new(connect_lazy(&address, &Transport::MutualTls(caller)).unwrap())
}

/// Every method.
async fn call(audit: &Running, caller: TlsIdentity) -> [Result<(), Status>; 8] {
    let mut client = client(audit, caller);
    [
        client.search(patient(SearchRequest::default())).await.map(drop),
        client.get(patient(GetRequest::default())).await.map(drop),
        client.stats(patient(StatsRequest::default())).await.map(drop),
        client.tail(patient(TailRequest::default())).await.map(drop),
        client.export(patient(ExportRequest::default())).await.map(drop),
        client.verify_chain(patient(VerifyChainRequest::default())).await.map(drop),
        client.list_checkpoints(patient(ListCheckpointsRequest::default())).await.map(drop),
        client.erase_subject(patient(EraseSubjectRequest::default())).await.map(drop),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_10_only_the_admin_api_and_operators_read_the_log() {
    let ca = DevelopmentCa::generate().unwrap();
    let database = TestDatabase::new("audit", migrations()).await;
    let audit = Running::start_on(database, Transport::MutualTls(identity(&ca, "audit-service"))).await;
    for role in ["auth-api", "operator", "operator/alice"] {
        let [search, get, rest @ ..] = call(&audit, identity(&ca, role)).await;
        assert!(search.is_ok(), "{role}: {search:?}");
        let denied = |refusal: &Status| refusal.code() == Code::PermissionDenied;
        assert!(!rest.iter().any(|call| call.as_ref().is_err_and(denied)), "{role}: {rest:?}");
        assert_eq!(get.unwrap_err().code(), Code::NotFound, "{role}");
    }
    for role in ["internal/demo", "session-service", "mailer", "audit-service"] {
        for refusal in call(&audit, identity(&ca, role)).await {
            assert_eq!(refusal.unwrap_err().code(), Code::PermissionDenied, "{role}");
        }
    }
    let stranger = DevelopmentCa::generate().unwrap();
    let impostor = TlsIdentity { ca: ca.ca_pem().into(), ..identity(&stranger, "operator") };
    for refusal in call(&audit, impostor).await {
        assert_eq!(refusal.unwrap_err().code(), Code::Unavailable);
    }
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_06_a_page_token_of_one_operator_is_no_good_for_another() {
    let ca = DevelopmentCa::generate().unwrap();
    let database = TestDatabase::new("audit", migrations()).await;
    let audit = Running::start_on(database, Transport::MutualTls(identity(&ca, "audit-service"))).await;
    let events: Vec<_> = (0..3).map(|_| parsed(&login(user()))).collect();
    audit.another_log().record(&events).await;
    let request = SearchRequest { page_size: 1, ..SearchRequest::default() };
    let mut alice = client(&audit, identity(&ca, "operator/alice"));
    let page_token = alice.search(patient(request.clone())).await.unwrap().into_inner().next_page_token;
    let request = SearchRequest { page_token, ..request };
    assert!(alice.search(patient(request.clone())).await.is_ok());
    for other in ["operator/bob", "operator", "auth-api"] {
        let status = client(&audit, identity(&ca, other)).search(patient(request.clone())).await.unwrap_err();
        let reason = service_error::error_reason(&status);
        assert_eq!((status.code(), reason.as_deref()), (Code::InvalidArgument, Some("page_token_invalid")));
    }
    audit.stop_and_expect_an_empty_queue().await;
}
