//! Finds events. Every way of asking has an index that ends in the order of pages, so that a page costs what it holds and
//! not what the log holds.

use auth_events::{Outcome, Severity};
use auth_ids::Uuid;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Json, Nullable, Text, Timestamptz},
};
use diesel_async::AsyncPgConnection;

use super::{
    events::{EventRow, StoredEvent},
    statement::{Statement, Value},
};
use crate::domain::{Criteria, FreeText, TypeFilter};

/// Within this an event is recorded before or after it says that it occurred, but for a few, which have an index of their own
/// (`events_untimely`). So a range of times is a range of `seq`.
const TIMELY: TimeDelta = TimeDelta::hours(1);

/// So many types are looked up one by one.
const SINGLE_TYPES: usize = 8;

/// What is looked for, in the database's terms.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub criteria: Criteria,
    /// What stands for the filter's address; empty for one that no event has.
    pub address: Option<Vec<u8>>,
    /// What stands for the free text, as an address.
    pub text_address: Option<Vec<u8>>,
    /// The timely events of the filter's time are above this `seq`.
    pub timely_after: Option<i64>,
    /// And not above this one.
    pub timely_up_to: Option<i64>,
}

/// Which part of what matches.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    pub direction: Direction,
    /// Only events above this `seq`.
    pub after: Option<i64>,
    /// Only events below this `seq`.
    pub before: Option<i64>,
    pub skip: u32,
    pub limit: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    NewestFirst,
    OldestFirst,
}

/// Where the rows come from: each is one index.
#[derive(Debug, Clone)]
enum Source {
    Log,
    Address(Vec<u8>),
    Id(Uuid),
    Subject(Uuid),
    Actor(Uuid),
    Request(String),
    Target(String),
    Trace(String),
    Reason(String),
    Type(String),
    Types(Vec<String>),
}

/// Which of the rows, when times matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timing {
    Any,
    Timely,
    Untimely,
}

/// What a branch yields.
#[derive(Debug, Clone, Copy)]
enum Columns {
    Events,
    Seq,
    Counted,
}

/// The part of the log in which timely events of these times are.
pub async fn seq_range(
    conn: &mut AsyncPgConnection,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> pg::Result<(Option<i64>, Option<i64>)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<BigInt>)]
        after: Option<i64>,
        #[diesel(sql_type = Nullable<BigInt>)]
        up_to: Option<i64>,
    }
    let last_before = |statement: &mut Statement, time| {
        statement
            .sql("(SELECT seq FROM events WHERE recorded_at < ")
            .value(Value::Time(time), " ORDER BY recorded_at DESC, seq DESC LIMIT 1)");
    };
    let mut statement = Statement::default();
    statement.sql("SELECT ");
    match from.and_then(|from| from.checked_sub_signed(TIMELY)) {
        Some(from) => last_before(&mut statement, from),
        None => {
            statement.sql("NULL::bigint");
        }
    }
    statement.sql(" AS after, ");
    match to.and_then(|to| to.checked_add_signed(TIMELY)) {
        Some(to) => {
            // What is still to come is not bounded yet.
            statement.sql("CASE WHEN ").value(Value::Time(to), " < clock_timestamp() THEN coalesce(");
            last_before(&mut statement, to);
            statement.sql(", 0) END");
        }
        None => {
            statement.sql("NULL::bigint");
        }
    }
    statement.sql(" AS up_to");
    let row: Option<Row> = statement.load(conn).await?.pop();
    Ok(row.map_or((None, None), |row| (row.after, row.up_to)))
}

/// The events of a walk.
pub async fn load(conn: &mut AsyncPgConnection, wanted: &Wanted, walk: Walk) -> pg::Result<Vec<StoredEvent>> {
    let branches = wanted.branches();
    let mut statement = Statement::default();
    if let [(source, timing)] = branches.as_slice() {
        wanted.branch(&mut statement, source, *timing, Columns::Events, walk);
    } else {
        // Of each branch as many as all together may have, so that whatever is skipped or left is the same.
        let each = Walk { limit: walk.limit + i64::from(walk.skip), skip: 0, ..walk };
        statement.sql("SELECT DISTINCT ON (seq) * FROM (");
        wanted.union(&mut statement, &branches, Columns::Events, each);
        statement.sql(") AS found ORDER BY seq").sql(walk.direction.sql());
        walk.write_limits(&mut statement);
    }
    let rows: Vec<EventRow> = statement.load(conn).await?;
    Ok(rows.into_iter().map(StoredEvent::from).collect())
}

/// How many events match, counted no further than `limit`.
pub async fn count(conn: &mut AsyncPgConnection, wanted: &Wanted, limit: i64) -> pg::Result<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        events: i64,
    }
    let mut statement = Statement::default();
    statement.sql("SELECT count(DISTINCT seq) AS events FROM (");
    wanted.union(&mut statement, &wanted.branches(), Columns::Seq, Walk::newest(limit));
    statement.sql(") AS found");
    let row: Option<Row> = statement.load(conn).await?.pop();
    Ok(row.map_or(0, |row| row.events))
}

/// How many events match, as the planner guesses.
pub async fn estimate(conn: &mut AsyncPgConnection, wanted: &Wanted) -> pg::Result<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Json, column_name = "QUERY PLAN")]
        plan: serde_json::Value,
    }
    let mut statement = Statement::default();
    statement.sql("EXPLAIN (FORMAT JSON) ");
    wanted.union(&mut statement, &wanted.branches(), Columns::Seq, Walk::newest(i64::MAX));
    let row: Option<Row> = statement.load(conn).await?.pop();
    let rows = row.and_then(|row| row.plan.pointer("/0/Plan/Plan Rows")?.as_i64());
    Ok(rows.unwrap_or_default())
}

/// How often a type came with an outcome.
#[derive(Debug, QueryableByName)]
pub struct Tally {
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub outcome: String,
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// When the first of them occurred.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
}

/// The newest events that match, up to `limit` of them, counted; the most frequent first.
pub async fn tally(conn: &mut AsyncPgConnection, wanted: &Wanted, limit: i64) -> pg::Result<Vec<Tally>> {
    let mut statement = Statement::default();
    statement.sql(
        "SELECT type AS name, outcome, count(*) AS events, min(occurred_at) AS since \
         FROM (SELECT DISTINCT ON (seq) * FROM (",
    );
    wanted.union(&mut statement, &wanted.branches(), Columns::Counted, Walk::newest(limit));
    statement.sql(") AS found ORDER BY seq DESC LIMIT ");
    statement.value(
        Value::Number(limit),
        ") AS newest GROUP BY type, outcome ORDER BY events DESC, type, outcome",
    );
    statement.load(conn).await
}

/// How many events the log has, as the planner believes.
pub async fn size_estimate(conn: &mut AsyncPgConnection) -> pg::Result<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        events: i64,
    }
    let mut statement = Statement::default();
    // Before its first ANALYZE a table has -1.
    statement.sql(
        "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint AS events \
         FROM pg_partition_tree('events') JOIN pg_class ON pg_class.oid = relid WHERE isleaf",
    );
    let row: Option<Row> = statement.load(conn).await?.pop();
    Ok(row.map_or(0, |row| row.events))
}

impl Wanted {
    /// Everything that there is.
    #[must_use]
    pub fn all() -> Self {
        Self {
            criteria: Criteria::default(),
            address: None,
            text_address: None,
            timely_after: None,
            timely_up_to: None,
        }
    }

    fn branches(&self) -> Vec<(Source, Timing)> {
        let filter = self.criteria.filter();
        let sources = match (&filter.q, &self.address) {
            (Some(text), _) => self.meanings(text),
            (None, Some(address)) => vec![Source::Address(address.clone())],
            (None, None) => vec![Source::Log],
        };
        let timings: &[Timing] = if filter.from.is_some() || filter.to.is_some() {
            &[Timing::Timely, Timing::Untimely]
        } else {
            &[Timing::Any]
        };
        let each = sources.iter().flat_map(|source| timings.iter().map(|timing| (source.clone(), *timing)));
        each.collect()
    }

    /// Everything that a free text may be. Each is looked up alone: of alternatives in one condition the planner makes a walk.
    fn meanings(&self, text: &FreeText) -> Vec<Source> {
        let literal = || text.as_str().to_owned();
        let mut meanings = vec![
            Source::Reason(literal()),
            Source::Request(literal()),
            Source::Target(literal()),
            Source::Trace(literal()),
        ];
        // Type by type, each is read in the order of pages; of "any of these" the planner makes a sort, or, when there are many and so
        // they are frequent, a walk that soon has a page.
        let types: Vec<String> = text.types().map(str::to_owned).collect();
        if types.len() > SINGLE_TYPES {
            meanings.push(Source::Types(types));
        } else {
            meanings.extend(types.into_iter().map(Source::Type));
        }
        if let Some(id) = text.uuid() {
            meanings.extend([Source::Id(id), Source::Subject(id), Source::Actor(id)]);
        }
        meanings.extend(self.text_address.clone().map(Source::Address));
        meanings
    }

    fn union(&self, statement: &mut Statement, branches: &[(Source, Timing)], columns: Columns, walk: Walk) {
        for (index, (source, timing)) in branches.iter().enumerate() {
            statement.sql(if index == 0 { "(" } else { " UNION ALL (" });
            self.branch(statement, source, *timing, columns, walk);
            statement.sql(")");
        }
    }

    fn branch(
        &self,
        statement: &mut Statement,
        source: &Source,
        timing: Timing,
        columns: Columns,
        walk: Walk,
    ) {
        statement.sql(columns.sql());
        match source {
            Source::Log => {
                statement.sql(" FROM events WHERE true");
            }
            // Row by row from the newest on, each looked for in its own partition only: of a join the planner makes a sort of all
            // that an address ever did.
            Source::Address(tag) => {
                statement
                    .sql(" FROM (SELECT class, recorded_at, seq FROM ip_tags WHERE tag = ")
                    .value(Value::Bytes(tag.clone()), "");
                walk.write_range(statement);
                statement
                    .sql(" ORDER BY seq")
                    .sql(walk.direction.sql())
                    .sql(" OFFSET 0) AS tagged CROSS JOIN LATERAL (SELECT * FROM events")
                    .sql(" WHERE events.class = tagged.class AND events.recorded_at = tagged.recorded_at")
                    .sql(" AND events.seq = tagged.seq");
                self.write_conditions(statement, timing, walk);
                statement.sql(" LIMIT 1) AS events WHERE true");
            }
            Source::Id(id) => {
                statement
                    .sql(" FROM event_ids JOIN events USING (class, recorded_at, seq) WHERE event_ids.id = ")
                    .value(Value::Uuid(*id), "");
            }
            Source::Subject(id) => {
                statement.sql(" FROM events WHERE subject_id = ").value(Value::Uuid(*id), "");
            }
            Source::Actor(id) => {
                statement.sql(" FROM events WHERE actor_id = ").value(Value::Uuid(*id), "");
            }
            Source::Request(id) => {
                statement.sql(" FROM events WHERE request_id = ").value(Value::Text(id.clone()), "");
            }
            Source::Target(id) => {
                statement.sql(" FROM events WHERE target_id = ").value(Value::Text(id.clone()), "");
            }
            Source::Trace(id) => {
                statement.sql(" FROM events WHERE trace_id = ").value(Value::Text(id.clone()), "");
            }
            Source::Reason(code) => {
                statement.sql(" FROM events WHERE reason = ").value(Value::Text(code.clone()), "");
            }
            Source::Type(name) => {
                statement.sql(" FROM events WHERE type = ").value(Value::Text(name.clone()), "");
            }
            Source::Types(names) => {
                statement.sql(" FROM events WHERE type = ANY(").value(Value::Texts(names.clone()), ")");
            }
        }
        let is_address = matches!(source, Source::Address(_));
        if !is_address {
            self.write_conditions(statement, timing, walk);
        }
        if matches!(columns, Columns::Events | Columns::Counted) {
            statement.sql(if is_address { " ORDER BY tagged.seq" } else { " ORDER BY seq" });
            statement.sql(if self.is_walk(source, timing) {
                walk.direction.sql()
            } else {
                walk.direction.index_sql()
            });
        }
        walk.write_limits(statement);
    }

    /// Whether the rows are read in the log's own order, because most of them match.
    fn is_walk(&self, source: &Source, timing: Timing) -> bool {
        match source {
            Source::Log | Source::Types(_) => timing != Timing::Untimely && !self.is_narrow(),
            Source::Address(_) => true,
            _ => false,
        }
    }

    /// Whether a filter has an index.
    fn is_narrow(&self) -> bool {
        let filter = self.criteria.filter();
        filter.r#type.is_some()
            || filter.outcome.is_some_and(|outcome| outcome != Outcome::Success)
            || filter.severity.is_some_and(|severity| severity != Severity::Info)
            || filter.actor_id.is_some()
            || filter.subject_id.is_some()
            || filter.request_id.is_some()
            || self.criteria.scope().subject_id.is_some()
    }

    fn write_conditions(&self, statement: &mut Statement, timing: Timing, walk: Walk) {
        self.write_filter(statement);
        self.write_scope(statement);
        self.write_timing(statement, timing);
        walk.write_range(statement);
    }

    fn write_filter(&self, statement: &mut Statement) {
        let filter = self.criteria.filter();
        match &filter.r#type {
            Some(TypeFilter::Exact(name)) => {
                statement.sql(" AND type = ").value(Value::from(&**name), "");
            }
            // As in the index `events_domain`, to the letter.
            Some(TypeFilter::Domain(domain)) => {
                statement.sql(" AND split_part(type, '.', 1) = ").value(Value::from(&**domain), "");
            }
            None => {}
        }
        if let Some(outcome) = filter.outcome {
            statement.sql(" AND outcome = ").value(Value::from(outcome.name()), "");
        }
        if let Some(severity) = filter.severity {
            statement.sql(" AND severity = ").value(Value::from(severity.name()), "");
        }
        if let Some(actor) = filter.actor_id {
            statement.sql(" AND actor_id = ").value(Value::Uuid(actor), "");
        }
        if let Some(subject) = filter.subject_id {
            statement.sql(" AND subject_id = ").value(Value::Uuid(subject), "");
        }
        if let Some(request_id) = &filter.request_id {
            statement.sql(" AND request_id = ").value(Value::from(&**request_id), "");
        }
        if let Some(from) = filter.from {
            statement.sql(" AND occurred_at >= ").value(Value::Time(from), "");
        }
        if let Some(to) = filter.to {
            statement.sql(" AND occurred_at < ").value(Value::Time(to), "");
        }
        // Alone, an address is where the rows come from.
        if let (Some(address), Some(_)) = (&self.address, &filter.q) {
            statement
                .sql(" AND seq IN (SELECT ip_tags.seq FROM ip_tags WHERE ip_tags.tag = ")
                .value(Value::Bytes(address.clone()), ")");
        }
    }

    fn write_scope(&self, statement: &mut Statement) {
        let scope = self.criteria.scope();
        if let Some(subject) = scope.subject_id {
            statement.sql(" AND subject_id = ").value(Value::Uuid(subject), "");
        }
        if scope.omit_administration {
            statement
                .sql(" AND split_part(type, '.', 1) NOT IN ('admin', 'system') AND actor_kind <> 'operator'");
        }
    }

    fn write_timing(&self, statement: &mut Statement, timing: Timing) {
        match timing {
            Timing::Any => {}
            Timing::Timely => {
                statement
                    .sql(" AND recorded_at - occurred_at BETWEEN interval '-1 hour' AND interval '1 hour'");
                if let Some(after) = self.timely_after {
                    statement.sql(" AND seq > ").value(Value::Number(after), "");
                }
                if let Some(up_to) = self.timely_up_to {
                    statement.sql(" AND seq <= ").value(Value::Number(up_to), "");
                }
            }
            // As in the index `events_untimely`, to the letter.
            Timing::Untimely => {
                statement.sql(
                    " AND recorded_at - occurred_at NOT BETWEEN interval '-1 hour' AND interval '1 hour'",
                );
            }
        }
    }
}

impl Walk {
    /// The newest events, up to `limit`.
    #[must_use]
    pub fn newest(limit: i64) -> Self {
        Self { direction: Direction::NewestFirst, after: None, before: None, skip: 0, limit }
    }

    fn write_range(self, statement: &mut Statement) {
        if let Some(after) = self.after {
            statement.sql(" AND seq > ").value(Value::Number(after), "");
        }
        if let Some(before) = self.before {
            statement.sql(" AND seq < ").value(Value::Number(before), "");
        }
    }

    fn write_limits(self, statement: &mut Statement) {
        if self.limit != i64::MAX {
            statement.sql(" LIMIT ").value(Value::Number(self.limit), "");
        }
        if self.skip > 0 {
            statement.sql(" OFFSET ").value(Value::Number(self.skip.into()), "");
        }
    }
}

impl Direction {
    fn sql(self) -> &'static str {
        match self {
            Self::NewestFirst => " DESC",
            Self::OldestFirst => " ASC",
        }
    }

    /// In the order that only the indexes for searching have. The planner judges a merge of many months by their sum, and of two indexes in
    /// the same order takes the log's for a type that is frequent in some months, which is a walk through all the months without it.
    fn index_sql(self) -> &'static str {
        match self {
            Self::NewestFirst => " DESC NULLS LAST",
            Self::OldestFirst => " ASC NULLS FIRST",
        }
    }
}

impl Columns {
    fn sql(self) -> &'static str {
        match self {
            Self::Events => {
                "SELECT events.class, events.seq, events.id, events.type AS name, events.version, events.source, \
                 events.occurred_at, events.recorded_at, events.subject_id, events.actor_kind, events.actor_id, \
                 events.actor_name, events.outcome, events.severity, events.reason, events.target_kind, \
                 events.target_id, events.request_id, events.trace_id, events.detail, events.sealed_client, \
                 events.sealed_detail, events.prev_hash, events.hash"
            }
            Self::Seq => "SELECT events.seq",
            Self::Counted => "SELECT events.seq, events.type, events.outcome, events.occurred_at",
        }
    }
}
