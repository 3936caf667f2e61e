use std::borrow::Cow;

use auth_events::commands::{Locale, MailTemplate};
use auth_ids::{EventId, GenericUuid, UserId, Uuid};
use auth_proto::mailer::v1::{self as proto, ListMessagesRequest, RedriveRequest};
use lettre::Address;
use service_error::{ErrorKind, ServiceError};
use service_runtime::grpc::Caller;
use tonic::Request;

use super::page_token;
use crate::{
    app::redrive::Selection,
    domain::{mail_command, message::MessageState},
    store::messages::{MessageFilter, Position},
};

const DEFAULT_PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 100;
/// How many dead letters can be named in one request.
const MAX_IDS: usize = 100;
/// The longest name of somebody who wants something, in the history.
const MAX_ACTOR_CHARS: usize = 200;

/// Why a request was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    #[error("id is not a UUID")]
    MessageId,
    #[error("user_id is not a UUID")]
    UserId,
    #[error("state is not known")]
    State,
    #[error("page_size is more than 100")]
    PageSize,
    #[error("page_token is not one of ours")]
    PageToken,
    #[error("actor is more than one line of 200 characters")]
    Actor,
    #[error("either up to 100 ids or all must be given, and a reason only with all")]
    Selection,
    #[error("template is not known")]
    Template,
    #[error("locale is not known")]
    Locale,
    #[error("to is not an address")]
    Recipient,
}

impl ServiceError for RequestError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Malformed
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::MessageId => "message_id_invalid",
            Self::UserId => "user_id_invalid",
            Self::State => "state_invalid",
            Self::PageSize => "page_size_invalid",
            Self::PageToken => "page_token_invalid",
            Self::Actor => "actor_invalid",
            Self::Selection => "selection_invalid",
            Self::Template => "template_invalid",
            Self::Locale => "locale_invalid",
            Self::Recipient => "recipient_invalid",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        self.to_string().into()
    }
}

pub(super) fn message_id(id: &str) -> Result<EventId, RequestError> {
    let id = Uuid::parse_str(id).map_err(|_| RequestError::MessageId)?;
    Ok(EventId::from_untyped_uuid(id))
}

/// Who wants something: whom the request names, or the role of the caller.
pub(super) fn actor<T>(request: &Request<T>, named: &str) -> Result<String, RequestError> {
    if named.chars().count() > MAX_ACTOR_CHARS || named.chars().any(char::is_control) {
        return Err(RequestError::Actor);
    }
    if !named.is_empty() {
        return Ok(named.to_owned());
    }
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_else(Caller::unverified);
    Ok(caller.name())
}

pub(super) fn filter(request: &ListMessagesRequest) -> Result<MessageFilter, RequestError> {
    let user_id = match request.user_id.as_str() {
        "" => None,
        text => Some(UserId::from_untyped_uuid(Uuid::parse_str(text).map_err(|_| RequestError::UserId)?)),
    };
    let state = match proto::MessageState::try_from(request.state) {
        Ok(proto::MessageState::Unspecified) => None,
        Ok(proto::MessageState::Queued) => Some(MessageState::Queued),
        Ok(proto::MessageState::Sending) => Some(MessageState::Sending),
        Ok(proto::MessageState::Sent) => Some(MessageState::Sent),
        Ok(proto::MessageState::Deferred) => Some(MessageState::Deferred),
        Ok(proto::MessageState::Failed) => Some(MessageState::Failed),
        Ok(proto::MessageState::Expired) => Some(MessageState::Expired),
        Ok(proto::MessageState::Superseded) => Some(MessageState::Superseded),
        Ok(proto::MessageState::Cancelled) => Some(MessageState::Cancelled),
        Err(_) => return Err(RequestError::State),
    };
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (to, template) = (given(&request.to), given(&request.template));
    Ok(MessageFilter { user_id, to, state, template, ..MessageFilter::default() })
}

pub(super) fn position(page_token: &str) -> Result<Option<Position>, RequestError> {
    match page_token {
        "" => Ok(None),
        token => page_token::decode(token).map(Some).ok_or(RequestError::PageToken),
    }
}

pub(super) fn page_size(page_size: u32) -> Result<usize, RequestError> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) if size <= MAX_PAGE_SIZE => Ok(size),
        _ => Err(RequestError::PageSize),
    }
}

pub(super) fn selection(request: RedriveRequest) -> Result<Selection, RequestError> {
    let RedriveRequest { ids, all, reason, actor: _ } = request;
    let reason = Some(reason).filter(|reason| !reason.is_empty());
    match (ids.len(), all, reason) {
        (0, true, reason) => Ok(Selection::All { reason }),
        (1..=MAX_IDS, false, None) => Ok(Selection::Ids(ids)),
        _ => Err(RequestError::Selection),
    }
}

pub(super) fn template(name: &str) -> Result<MailTemplate, RequestError> {
    MailTemplate::ALL.iter().copied().find(|it| it.name() == name).ok_or(RequestError::Template)
}

/// The language that is called `tag`; without one English.
pub(super) fn locale(tag: &str) -> Result<Locale, RequestError> {
    match tag {
        "" => Ok(Locale::default()),
        tag => Locale::ALL.iter().copied().find(|it| it.tag() == tag).ok_or(RequestError::Locale),
    }
}

pub(super) fn recipient(to: &str) -> Result<Address, RequestError> {
    mail_command::recipient(to).map_err(|_| RequestError::Recipient)
}
