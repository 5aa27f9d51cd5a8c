//! Commands and options of a command line.

/// The command of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    AddService,
    EditService,
    DeleteService,
    Clear,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
}

/// An option that modifies a command. ipvsadm reports violations in the order of the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forwarding,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    Ops,
    Engine,
    SchedFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNoCsum,
    TunCsum,
    TunRemCsum,
}

/// What an option word selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Command(Command),
    Help,
    Version,
    Opt(Opt, Variant),
    /// `-6`. ipvsadm does not track it: any command accepts it, any number of times.
    Ipv6,
    /// `--sort`. Not tracked either.
    Sort,
}

/// Distinguishes the option words that share an [`Opt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    Only,
    Tcp,
    Udp,
    Sctp,
    Fwmark,
    Direct,
    Tunnel,
    Masquerade,
}

// === impl Opt ===

impl Opt {
    /// All options, in the order of the variants.
    pub(super) const ALL: [Self; 34] = [
        Self::Numeric,
        Self::Connection,
        Self::Service,
        Self::Scheduler,
        Self::Persistent,
        Self::Netmask,
        Self::Server,
        Self::Forwarding,
        Self::Weight,
        Self::UpperThreshold,
        Self::LowerThreshold,
        Self::McastInterface,
        Self::Timeout,
        Self::Daemon,
        Self::Stats,
        Self::Rate,
        Self::Thresholds,
        Self::PersistentConn,
        Self::NoSort,
        Self::SyncId,
        Self::Exact,
        Self::Ops,
        Self::Engine,
        Self::SchedFlags,
        Self::McastGroup,
        Self::McastPort,
        Self::McastTtl,
        Self::SyncMaxlen,
        Self::TunInfo,
        Self::TunType,
        Self::TunPort,
        Self::TunNoCsum,
        Self::TunCsum,
        Self::TunRemCsum,
    ];
}

/// `Opt::ALL[n]` is the option with discriminant `n`.
const _: () = {
    let mut index = 0;
    while index < Opt::ALL.len() {
        assert!(Opt::ALL[index] as usize == index);
        index += 1;
    }
};
