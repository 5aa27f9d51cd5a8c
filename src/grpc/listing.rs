//! GetListing: the table as text in columns.

use futures_util::{Stream, StreamExt};

use super::{api::Api, convert::order_by_name, text_stream::parts};
use crate::{
    app::RequestContext,
    ipvsadm::{ListFormat, ListMode, Order},
    model::Error,
    proto::v1 as pb,
};

pub(super) async fn get(
    api: Api,
    request: pb::GetListingRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::GetListingResponse, Error>> + use<>, Error> {
    let pb::GetListingRequest {
        columns,
        exact,
        order,
    } = request;
    let mode = columns.as_deref().map(ListMode::named).transpose();
    let format = ListFormat {
        mode: mode
            .map_err(|message| Error::invalid("columns", message))?
            .unwrap_or_default(),
        exact: exact.unwrap_or_default(),
        numeric: true,
        unsorted: order_by_name(order, Order::Kernel)? == Order::Kernel,
    };
    let text = api.app.listing(&context, format).await?.value;
    Ok(parts(text)?.map(|text| Ok(pb::GetListingResponse { text })))
}
