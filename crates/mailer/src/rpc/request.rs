use std::borrow::Cow;

use auth_ids::{EventId, GenericUuid, UserId, Uuid};
use auth_proto::mailer::v1::{self as proto, GetMessageRequest, ListMessagesRequest};
use service_error::{ErrorKind, ServiceError};

use super::page_token;
use crate::{
    domain::message::MessageState,
    store::messages::{MessageFilter, Position},
};

const DEFAULT_PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 100;

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
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        self.to_string().into()
    }
}

pub(super) fn message_id(request: &GetMessageRequest) -> Result<EventId, RequestError> {
    let id = Uuid::parse_str(&request.id).map_err(|_| RequestError::MessageId)?;
    Ok(EventId::from_untyped_uuid(id))
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
        Err(_) => return Err(RequestError::State),
    };
    let to = Some(request.to.clone()).filter(|to| !to.is_empty());
    Ok(MessageFilter { user_id, to, state })
}

pub(super) fn position(request: &ListMessagesRequest) -> Result<Option<Position>, RequestError> {
    match request.page_token.as_str() {
        "" => Ok(None),
        token => page_token::decode(token).map(Some).ok_or(RequestError::PageToken),
    }
}

pub(super) fn page_size(request: &ListMessagesRequest) -> Result<usize, RequestError> {
    match usize::try_from(request.page_size) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) if size <= MAX_PAGE_SIZE => Ok(size),
        _ => Err(RequestError::PageSize),
    }
}
