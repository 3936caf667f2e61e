use auth_proto::audit::v1::{SearchRequest, SearchResponse, Total as TotalMessage};

use super::{
    criteria::{criteria, filter_of, given},
    event::event,
};
use crate::{
    app::{AuditLog, Search, SearchError, Total},
    domain::{PageSize, Place, Reader},
};

pub async fn search(
    log: &AuditLog,
    request: &SearchRequest,
    reader: Reader,
) -> Result<SearchResponse, SearchError> {
    let page_size = PageSize::parse(request.page_size)?;
    let search = Search {
        criteria: criteria(Some(&filter_of(request)), request.scope.as_ref())?,
        place: Place::parse(request.page, page_size, given(&request.page_token))?,
        page_size,
        with_total: request.with_total,
        reader,
    };
    let page = log.search(&search).await?;
    Ok(SearchResponse {
        events: page.events.into_iter().map(event).collect(),
        next_page_token: page.next_page_token.unwrap_or_default(),
        total: page.total.map(total),
    })
}

fn total(total: Total) -> TotalMessage {
    match total {
        Total::Counted(events) => TotalMessage { events, is_estimate: false },
        Total::Estimated(events) => TotalMessage { events, is_estimate: true },
    }
}
