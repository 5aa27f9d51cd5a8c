//! GetInfo: versions and capabilities of the daemon and the kernel.

use super::{api::Api, convert::age};
use crate::{
    app::{InfoReport, KernelReport, RequestContext, SchedulerReport},
    model::Error,
    proto::v1 as pb,
};

pub(super) async fn get(
    api: Api,
    request: pb::GetInfoRequest,
    context: RequestContext,
) -> Result<pb::GetInfoResponse, Error> {
    let pb::GetInfoRequest { max_age: _ } = request;
    let answer = api.app.info(&context).await?;
    let age = age(&answer);
    let InfoReport {
        version,
        commit,
        build_date,
        namespace,
        kernel,
        schedulers,
        persistence_engines,
    } = answer.value;
    Ok(pb::GetInfoResponse {
        version,
        commit,
        build_date,
        namespace,
        kernel: Some(kernel.into()),
        schedulers: schedulers.into_iter().map(pb::Scheduler::from).collect(),
        persistence_engines,
        age,
    })
}

impl From<KernelReport> for pb::Kernel {
    fn from(kernel: KernelReport) -> Self {
        let KernelReport {
            kind,
            release,
            ipvs_version,
            connection_table_size,
            estimation,
            features,
        } = kernel;
        Self {
            kind,
            release,
            ipvs_version,
            connection_table_size,
            estimation,
            features,
        }
    }
}

impl From<SchedulerReport> for pb::Scheduler {
    fn from(scheduler: SchedulerReport) -> Self {
        let SchedulerReport {
            name,
            description,
            loaded,
        } = scheduler;
        Self {
            name,
            description,
            loaded,
        }
    }
}
