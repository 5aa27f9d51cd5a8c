//! What daemon and kernel are and have.

use super::{
    Face,
    convert::{age, aged},
};
use crate::{
    director::{Call, InfoReport, KernelReport, SchedulerReport},
    model::Error,
    proto::v1 as pb,
};

pub(super) async fn get(
    face: Face,
    request: pb::GetInfoRequest,
    call: Call,
) -> Result<pb::GetInfoResponse, Error> {
    let pb::GetInfoRequest { max_age } = request;
    let answer = face.director.info(aged(call, max_age)?).await?;
    let age = age(&answer);
    let InfoReport {
        version,
        namespace,
        kernel,
        schedulers,
        persistence_engines,
    } = answer.value;
    Ok(pb::GetInfoResponse {
        version,
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
            connection_table_size: connection_table_size.into(),
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
