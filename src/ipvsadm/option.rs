//! The options, their names on the command line and in messages.

/// What a command line does.
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

/// What goes with a command, in the order in which ipvsadm looks for faults.
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

/// What an option's word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Command(Command),
    Help,
    Version,
    /// A flag or a value of the command.
    Opt(Opt, Which),
    /// `-6`.
    Ipv6,
    /// `--sort`.
    Sort,
}

/// Which of the words that share an [`Opt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Only,
    Tcp,
    Udp,
    Sctp,
    Fwmark,
    Direct,
    Tunnel,
    Masquerade,
}

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
    /// The next word unless it begins with `-`.
    Optional,
}

/// One option as the command line knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub long: &'static str,
    pub short: Option<u8>,
    pub takes: Takes,
    pub word: Word,
}

use Takes::{Nothing, Optional, Value};
use Which::Only;

const fn spec(long: &'static str, short: u8, takes: Takes, word: Word) -> Spec {
    Spec {
        long,
        short: if short == 0 { None } else { Some(short) },
        takes,
        word,
    }
}

const fn command(long: &'static str, short: u8, command: Command) -> Spec {
    spec(long, short, Nothing, Word::Command(command))
}

const fn flag(long: &'static str, short: u8, opt: Opt) -> Spec {
    spec(long, short, Nothing, Word::Opt(opt, Only))
}

const fn value(long: &'static str, short: u8, opt: Opt) -> Spec {
    spec(long, short, Value, Word::Opt(opt, Only))
}

const fn shared(long: &'static str, short: u8, takes: Takes, opt: Opt, which: Which) -> Spec {
    spec(long, short, takes, Word::Opt(opt, which))
}

const fn daemon(long: &'static str, command: Command) -> Spec {
    spec(long, 0, Value, Word::Command(command))
}

/// Every option.
pub(super) static SPECS: [Spec; 58] = [
    command("add-service", b'A', Command::AddService),
    command("edit-service", b'E', Command::EditService),
    command("delete-service", b'D', Command::DeleteService),
    command("clear", b'C', Command::Clear),
    command("list", b'L', Command::List),
    command("list", b'l', Command::List),
    command("zero", b'Z', Command::Zero),
    command("add-server", b'a', Command::AddServer),
    command("edit-server", b'e', Command::EditServer),
    command("delete-server", b'd', Command::DeleteServer),
    command("restore", b'R', Command::Restore),
    command("save", b'S', Command::Save),
    command("set", 0, Command::Set),
    daemon("start-daemon", Command::StartDaemon),
    daemon("stop-daemon", Command::StopDaemon),
    spec("help", b'h', Nothing, Word::Help),
    spec("version", b'v', Nothing, Word::Version),
    shared("tcp-service", b't', Value, Opt::Service, Which::Tcp),
    shared("udp-service", b'u', Value, Opt::Service, Which::Udp),
    shared("sctp-service", 0, Value, Opt::Service, Which::Sctp),
    shared("fwmark-service", b'f', Value, Opt::Service, Which::Fwmark),
    spec("ipv6", b'6', Nothing, Word::Ipv6),
    value("scheduler", b's', Opt::Scheduler),
    shared("persistent", b'p', Optional, Opt::Persistent, Only),
    value("netmask", b'M', Opt::Netmask),
    value("pe", 0, Opt::Engine),
    value("sched-flags", b'b', Opt::SchedFlags),
    flag("ops", b'o', Opt::Ops),
    value("real-server", b'r', Opt::Server),
    shared("gatewaying", b'g', Nothing, Opt::Forwarding, Which::Direct),
    shared("ipip", b'i', Nothing, Opt::Forwarding, Which::Tunnel),
    shared(
        "masquerading",
        b'm',
        Nothing,
        Opt::Forwarding,
        Which::Masquerade,
    ),
    value("weight", b'w', Opt::Weight),
    value("u-threshold", b'x', Opt::UpperThreshold),
    value("l-threshold", b'y', Opt::LowerThreshold),
    value("tun-type", 0, Opt::TunType),
    value("tun-port", 0, Opt::TunPort),
    flag("tun-nocsum", 0, Opt::TunNoCsum),
    flag("tun-csum", 0, Opt::TunCsum),
    flag("tun-remcsum", 0, Opt::TunRemCsum),
    flag("numeric", b'n', Opt::Numeric),
    flag("connection", b'c', Opt::Connection),
    flag("timeout", 0, Opt::Timeout),
    flag("daemon", 0, Opt::Daemon),
    flag("stats", 0, Opt::Stats),
    flag("rate", 0, Opt::Rate),
    flag("thresholds", 0, Opt::Thresholds),
    flag("persistent-conn", 0, Opt::PersistentConn),
    flag("tun-info", 0, Opt::TunInfo),
    flag("nosort", 0, Opt::NoSort),
    spec("sort", 0, Nothing, Word::Sort),
    flag("exact", b'X', Opt::Exact),
    value("mcast-interface", 0, Opt::McastInterface),
    value("syncid", 0, Opt::SyncId),
    value("sync-maxlen", 0, Opt::SyncMaxlen),
    value("mcast-group", 0, Opt::McastGroup),
    value("mcast-port", 0, Opt::McastPort),
    value("mcast-ttl", 0, Opt::McastTtl),
];

/// The place of each letter's option among [`SPECS`].
static LETTERS: [Option<u8>; 128] = {
    let mut letters = [None; 128];
    let mut place = 0;
    while place < SPECS.len() {
        if let Some(letter) = SPECS[place].short {
            letters[letter as usize] = Some(place as u8);
        }
        place += 1;
    }
    letters
};

// === impl Spec ===

impl Spec {
    pub(super) fn find_long(name: &str) -> Option<&'static Self> {
        SPECS.iter().find(|spec| spec.long == name)
    }

    pub(super) fn find_short(letter: u8) -> Option<&'static Self> {
        let place = LETTERS.get(usize::from(letter)).copied().flatten()?;
        SPECS.get(usize::from(place))
    }
}

// === impl Command ===

impl Command {
    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Clear => "flush",
            Self::List => "list",
            Self::AddServer => "add-server",
            Self::DeleteServer => "delete-server",
            Self::EditServer => "edit-server",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::Zero => "zero",
        }
    }
}

// === impl Opt ===

impl Opt {
    /// Every one, in the order in which faults are looked for.
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

    /// Its name in messages: of several words, that of what they share.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Service => "service-address",
            Self::Forwarding => "forwarding-method",
            _ => SPECS
                .iter()
                .find(|spec| matches!(spec.word, Word::Opt(opt, _) if opt == self))
                .map_or("", |spec| spec.long),
        }
    }
}

/// What is looked up in [`Opt::ALL`] by its number is itself.
const _: () = {
    let mut place = 0;
    while place < Opt::ALL.len() {
        assert!(Opt::ALL[place] as usize == place);
        place += 1;
    }
};

/// The long names of all options.
pub fn option_names() -> impl Iterator<Item = &'static str> {
    SPECS.iter().map(|spec| spec.long)
}
