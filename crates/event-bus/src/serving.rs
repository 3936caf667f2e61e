//! The two ways of serving a subscription.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{Consumer, message::Delivery as RawDelivery};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, error, info_span};

use crate::{
    BatchHandler, Delivery, Handler, Verdict,
    session::{Judge, Moving, Scope, Session},
    subscription::Serve,
};

/// Many handlers at once, each with one message.
pub(crate) struct OneByOne<H>(pub(crate) H);

impl<H: Handler> Serve for OneByOne<H> {
    async fn serve(&self, session: &Session<'_>, mut deliveries: Consumer) -> anyhow::Result<()> {
        let prefetch = usize::from(session.subscription.settings.prefetch);
        let mut running = FuturesUnordered::new();
        let mut failure = None;
        loop {
            let is_over = session.over.is_cancelled();
            let takes = !is_over && running.len() < prefetch && !session.is_keeping();
            tokio::select! {
                biased;
                // Handlers that run are waited for in any case.
                Some(worked_off) = running.next() => failure = failure.or(session.failure(worked_off)),
                () = session.over.cancelled(), if !is_over => {}
                delivery = session.next(&mut deliveries), if takes => match delivery {
                    Ok(delivery) => running.push(self.work_off(session, delivery)),
                    Err(error) => failure = failure.or(session.failure(Err(error))),
                },
                else => return failure.map_or(Ok(()), Err),
            }
        }
    }
}

impl<H: Handler> OneByOne<H> {
    async fn work_off(&self, session: &Session<'_>, delivery: RawDelivery) -> anyhow::Result<()> {
        let moving = session.work_off(self, vec![delivery], Scope::OneOfMany).await?;
        session.carry(moving).await
    }
}

impl<H: Handler> Judge for OneByOne<H> {
    async fn judge(&self, queue: &'static str, deliveries: &[RawDelivery]) -> Vec<Option<Verdict>> {
        let mut verdicts = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let delivery = Delivery::new(delivery);
            let span = info_span!(
                "consumer.message.handle",
                queue,
                message.id = delivery.message_id.as_deref(),
                message.r#type = delivery.message_type.as_deref(),
            );
            telemetry::propagation::continue_trace(&span, delivery.traceparent.as_deref());
            verdicts.push(unless_it_panics(self.0.handle(delivery).instrument(span)).await);
        }
        verdicts
    }
}

/// One handler at a time, with many messages.
pub(crate) struct Batches<H>(pub(crate) H);

impl<H: BatchHandler> Serve for Batches<H> {
    async fn serve(&self, session: &Session<'_>, mut deliveries: Consumer) -> anyhow::Result<()> {
        let mut carried = FuturesUnordered::new();
        let mut failure = None;
        while !session.over.is_cancelled() {
            let scope = if carried.is_empty() { Scope::AllThereIs } else { Scope::OneOfMany };
            let mut working = pin!(self.work_off_next(session, &mut deliveries, scope));
            let worked_off = loop {
                tokio::select! {
                    biased;
                    Some(moved) = carried.next() => failure = failure.or(session.failure(moved)),
                    worked_off = &mut working => break worked_off,
                }
            };
            match worked_off {
                Ok(moving) if moving.is_empty() => {}
                Ok(moving) => carried.push(session.carry(moving)),
                Err(error) => failure = failure.or(session.failure(Err(error))),
            }
        }
        while let Some(moved) = carried.next().await {
            failure = failure.or(session.failure(moved));
        }
        failure.map_or(Ok(()), Err)
    }
}

impl<H: BatchHandler> Batches<H> {
    /// Handles one batch, unless the session is over before there is one.
    async fn work_off_next(
        &self,
        session: &Session<'_>,
        deliveries: &mut Consumer,
        scope: Scope,
    ) -> anyhow::Result<Moving> {
        let first = tokio::select! {
            biased;
            () = session.over.cancelled() => return Ok(Moving::default()),
            delivery = session.next(deliveries) => delivery?,
        };
        let batch = self.fill(session, first, deliveries).await?;
        session.work_off(self, batch, scope).await
    }

    async fn fill(
        &self,
        session: &Session<'_>,
        first: RawDelivery,
        deliveries: &mut Consumer,
    ) -> anyhow::Result<Vec<RawDelivery>> {
        let settings = &session.subscription.settings;
        // The broker sends no more than this before the batch is acknowledged.
        let size = settings.batch_size.min(settings.prefetch.into());
        let end = Instant::now() + settings.batch_wait;
        let mut batch = vec![first];
        while batch.len() < size {
            match timeout_at(end, session.next(deliveries)).await {
                Ok(delivery) => batch.push(delivery?),
                Err(_) => break,
            }
        }
        Ok(batch)
    }

    async fn judge_together(&self, queue: &'static str, deliveries: &[RawDelivery]) -> Option<Vec<Verdict>> {
        // Many messages, many traces: this span begins its own.
        let span = info_span!("consumer.batch.handle", queue, messages = deliveries.len());
        let batch = deliveries.iter().map(Delivery::new).collect();
        let verdicts = unless_it_panics(self.0.handle(batch).instrument(span)).await?;
        if verdicts.len() == deliveries.len() {
            return Some(verdicts);
        }
        error!(queue, "The handler has {} verdicts on {} messages", verdicts.len(), deliveries.len());
        None
    }
}

impl<H: BatchHandler> Judge for Batches<H> {
    async fn judge(&self, queue: &'static str, deliveries: &[RawDelivery]) -> Vec<Option<Verdict>> {
        if let Some(verdicts) = self.judge_together(queue, deliveries).await {
            return verdicts.into_iter().map(Some).collect();
        }
        // One message spoils the batch. Alone it spoils nothing but itself.
        let mut verdicts = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let alone = self.judge_together(queue, std::slice::from_ref(delivery)).await;
            verdicts.push(alone.and_then(|mut verdicts| verdicts.pop()));
        }
        verdicts
    }
}

/// A handler that panics must not end the loop for all other messages.
async fn unless_it_panics<T>(handler: impl Future<Output = T>) -> Option<T> {
    let outcome = AssertUnwindSafe(handler).catch_unwind().await.ok();
    if outcome.is_none() {
        error!("A handler panicked; its message goes back to the queue");
    }
    outcome
}
