use serde::{Deserialize, Serialize};

/// What the kernel says of its IPVS (`IPVS_CMD_GET_INFO`; the header line of `ipvsadm -L`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Version of the IPVS code: major, minor, patch. Mainline has said 1.2.1 since 2.6.
    pub version: (u8, u8, u8),
    /// Buckets of the connection table. A kernel that resizes it says 0 until there are
    /// connections.
    pub connection_table_size: u32,
}
