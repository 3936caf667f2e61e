use auth_proto::session::v1::{CreateSessionRequest, CreateSessionResponse};
use chrono::{DateTime, TimeDelta, Utc};
use prost_types::Timestamp;
use tonic::Status;

use super::{invalid_request::InvalidRequest, messages, refuse};
use crate::{
    app::create_session::{self, CreateSession},
    domain::session::Grant,
    state::App,
};

/// How far the caller's clock may be ahead of ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);

pub async fn create_session(
    app: &App,
    request: CreateSessionRequest,
) -> Result<CreateSessionResponse, Status> {
    let request = parse(request, app.now())?;
    let issued = create_session::create_session(app, request).await.map_err(refuse)?;
    Ok(CreateSessionResponse {
        tokens: Some(messages::tokens(issued.tokens)),
        session: Some(messages::session(issued.session)),
    })
}

fn parse(request: CreateSessionRequest, now: DateTime<Utc>) -> Result<CreateSession, InvalidRequest> {
    let subject = request.subject.ok_or(InvalidRequest::new("subject", "is required"))?;
    let user_id = messages::parse_id("subject.user_id", &subject.user_id)?;
    messages::check_names("subject.roles", &subject.roles)?;
    messages::check_names("subject.permissions", &subject.permissions)?;
    let amr = messages::parse_methods(request.amr)?;
    messages::check_grant("subject", &subject.roles, &subject.permissions, &amr)?;
    let aal = messages::parse_aal(request.aal)?;
    let auth_time = parse_auth_time(request.auth_time, now)?;
    let device = messages::parse_device(request.device)?;
    let client = messages::parse_client(&device, request.request_id)?;
    let (roles, permissions) = (subject.roles, subject.permissions);
    let grant = Grant { roles, permissions, amr, aal, auth_time };
    Ok(CreateSession { user_id, grant, remember_me: request.remember_me, device, client })
}

fn parse_auth_time(time: Option<Timestamp>, now: DateTime<Utc>) -> Result<DateTime<Utc>, InvalidRequest> {
    let time = messages::parse_time("auth_time", time)?.unwrap_or(now);
    let sound = time <= now + LEEWAY && time >= DateTime::UNIX_EPOCH;
    if sound { Ok(time) } else { Err(InvalidRequest::new("auth_time", "must be a time in the past")) }
}

#[cfg(test)]
mod tests {
    use auth_proto::session::v1::Subject;

    use super::*;

    fn good() -> CreateSessionRequest {
        CreateSessionRequest {
            subject: Some(Subject {
                user_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
                roles: vec!["user".to_owned()],
                permissions: vec![],
            }),
            amr: vec!["pwd".to_owned()],
            aal: 1,
            ..CreateSessionRequest::default()
        }
    }

    /// The field that is refused after `change`.
    fn refused(change: impl FnOnce(&mut CreateSessionRequest)) -> &'static str {
        let mut request = good();
        change(&mut request);
        parse(request, DateTime::UNIX_EPOCH).err().unwrap().field
    }

    #[test]
    fn a_good_request_is_understood() {
        let request = parse(good(), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((request.grant.aal, request.grant.auth_time), (1, DateTime::UNIX_EPOCH));
    }

    #[test]
    fn bad_requests_are_refused_by_field() {
        assert_eq!(refused(|it| it.subject = None), "subject");
        assert_eq!(refused(|it| it.subject.as_mut().unwrap().user_id = "7".to_owned()), "subject.user_id");
        assert_eq!(refused(|it| it.subject.as_mut().unwrap().roles.push("a b".to_owned())), "subject.roles");
        assert_eq!(
            refused(|it| it.subject.as_mut().unwrap().permissions.push(String::new())),
            "subject.permissions"
        );
        assert_eq!(
            refused(|it| it.subject.as_mut().unwrap().permissions = vec!["users:read".to_owned(); 200]),
            "subject"
        );
        assert_eq!(refused(|it| it.amr.clear()), "amr");
        assert_eq!(refused(|it| it.aal = 0), "aal");
        assert_eq!(refused(|it| it.aal = 257), "aal");
        assert_eq!(refused(|it| it.auth_time = Some(Timestamp { seconds: 31, nanos: 0 })), "auth_time");
        assert_eq!(refused(|it| it.auth_time = Some(Timestamp { seconds: 0, nanos: -1 })), "auth_time");
        assert_eq!(refused(|it| it.auth_time = Some(Timestamp { seconds: i64::MAX, nanos: 0 })), "auth_time");
        assert_eq!(refused(|it| it.request_id = "a\nb".to_owned()), "request_id");
    }
}
