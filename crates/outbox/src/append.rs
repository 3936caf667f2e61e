use auth_events::{Envelope, Fact, FactDetail, commands::MailSend};
use pg::AsyncPgConnection;

/// Stores a fact; it continues the current trace. Call it inside the transaction that makes it true.
pub async fn append_fact<D: FactDetail>(
    _conn: &mut AsyncPgConnection,
    _event: Envelope<Fact<D>>,
) -> pg::Result<()> {
    todo!()
}

/// Stores a mail command; it continues the current trace.
pub async fn append_mail(_conn: &mut AsyncPgConnection, _command: Envelope<MailSend>) -> pg::Result<()> {
    todo!()
}
