use std::time::Duration;

use audit_service::startup::migrations;
use auth_proto::audit::v1::{GetRequest, SearchRequest, audit_service_client::AuditServiceClient};
use dev_stack::certificates::DevelopmentCa;
use service_runtime::{TlsIdentity, Transport, grpc::connect_lazy};
use test_support::TestDatabase;
use tonic::{Code, Request, Status};

use crate::running::Running;

fn identity(ca: &DevelopmentCa, role: &str) -> TlsIdentity {
    let leaf = ca.issue(role).unwrap();
    TlsIdentity { ca: ca.ca_pem().into(), certificate: leaf.cert_pem.into(), key: leaf.key_pem.into() }
}

fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(10));
    request
}

async fn call(audit: &Running, caller: TlsIdentity) -> [Result<(), Status>; 2] {
    let address = format!("https://{}", audit.grpc_addr).parse().unwrap();
    let mut client = AuditServiceClient::new(connect_lazy(&address, &Transport::MutualTls(caller)).unwrap());
    let search = client.search(patient(SearchRequest::default())).await.map(drop);
    let get = client.get(patient(GetRequest::default())).await.map(drop);
    [search, get]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_admin_api_and_operators_read_the_log() {
    let ca = DevelopmentCa::generate().unwrap();
    let database = TestDatabase::new("audit", migrations()).await;
    let audit = Running::start_on(database, Transport::MutualTls(identity(&ca, "audit-service"))).await;
    for role in ["auth-api", "operator", "operator/alice"] {
        let [search, get] = call(&audit, identity(&ca, role)).await;
        assert!(search.is_ok(), "{role}: {search:?}");
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
