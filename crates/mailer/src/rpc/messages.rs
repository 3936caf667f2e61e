//! What the use cases return, in the words of the proto.

use auth_proto::mailer::v1 as proto;
use chrono::{DateTime, Utc};
use event_bus::DeadLetter;
use prost_types::Timestamp;

use crate::{
    domain::{
        breaker::BreakerState,
        message::{Message, MessageState, Transition},
    },
    mail::providers::ProviderReport,
};

pub(super) fn message(message: Message, now: DateTime<Utc>) -> proto::Message {
    proto::Message {
        retryable: message.is_retryable(now),
        id: message.id.to_string(),
        user_id: message.user_id.map(|id| id.to_string()).unwrap_or_default(),
        template: message.template,
        locale: message.locale,
        to: message.to,
        lane: message.lane,
        state: state(message.state),
        attempts: message.attempts,
        message_id: message.message_id_header,
        last_reply: message.last_reply.unwrap_or_default(),
        created_at: Some(timestamp(message.created_at)),
        updated_at: Some(timestamp(message.updated_at)),
        expires_at: Some(timestamp(message.expires_at)),
        sent_at: message.sent_at.map(timestamp),
        provider: message.provider.unwrap_or_default(),
        failure: message.failure.unwrap_or_default(),
        retry_at: message.retry_at.map(timestamp),
    }
}

pub(super) fn transition(transition: Transition) -> proto::Transition {
    proto::Transition {
        state: state(transition.state),
        attempt: transition.attempt,
        provider: transition.provider.unwrap_or_default(),
        reply: transition.reply.unwrap_or_default(),
        actor: transition.actor.unwrap_or_default(),
        at: Some(timestamp(transition.at)),
    }
}

pub(super) fn failed(message: Message) -> proto::DeadLetter {
    proto::DeadLetter {
        id: message.id.to_string(),
        source: proto::DeadLetterSource::Message.into(),
        reason: message.failure.unwrap_or_default(),
        detail: message.last_reply.unwrap_or_default(),
        template: message.template,
        to: message.to,
        queue: String::new(),
        at: Some(timestamp(message.updated_at)),
    }
}

pub(super) fn refused(letter: DeadLetter) -> proto::DeadLetter {
    proto::DeadLetter {
        id: letter.id,
        source: proto::DeadLetterSource::Broker.into(),
        reason: letter.reason,
        detail: format!("{}, {} bytes", letter.message_type.as_deref().unwrap_or("no type"), letter.bytes),
        template: String::new(),
        to: String::new(),
        queue: letter.queue.unwrap_or_default(),
        at: None,
    }
}

pub(super) fn provider(report: ProviderReport) -> proto::Provider {
    let (breaker, retry_at) = match report.breaker {
        BreakerState::Closed => (proto::BreakerState::Closed, None),
        BreakerState::Open { until } => (proto::BreakerState::Open, Some(until)),
        BreakerState::HalfOpen => (proto::BreakerState::HalfOpen, None),
    };
    let (last_error_at, last_error) = report.last_error.unzip();
    proto::Provider {
        name: report.name.name().to_owned(),
        address: report.address,
        breaker: breaker.into(),
        retry_at: retry_at.map(timestamp),
        recent_failures: u32::try_from(report.recent_failures).unwrap_or(u32::MAX),
        last_error: last_error.unwrap_or_default(),
        last_error_at: last_error_at.map(timestamp),
        last_success_at: report.last_success.map(timestamp),
    }
}

fn state(state: Option<MessageState>) -> i32 {
    let state = match state {
        None => proto::MessageState::Unspecified,
        Some(MessageState::Queued) => proto::MessageState::Queued,
        Some(MessageState::Sending) => proto::MessageState::Sending,
        Some(MessageState::Sent) => proto::MessageState::Sent,
        Some(MessageState::Deferred) => proto::MessageState::Deferred,
        Some(MessageState::Failed) => proto::MessageState::Failed,
        Some(MessageState::Expired) => proto::MessageState::Expired,
        Some(MessageState::Superseded) => proto::MessageState::Superseded,
        Some(MessageState::Cancelled) => proto::MessageState::Cancelled,
    };
    state.into()
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
