//! Version and table size of IPVS.

use serde::{Deserialize, Serialize};

/// Version and table size of IPVS (`IPVS_CMD_GET_INFO`; first line of `ipvsadm -L`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Version of the IPVS code: major, minor, patch. 1.2.1 in all mainline kernels since 2.6.
    pub version: (u8, u8, u8),
    /// Number of buckets of the connection table. Kernels that resize the table report 0 until the
    /// first connection.
    pub connection_table_size: u32,
}
