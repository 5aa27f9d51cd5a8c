//! The name service of a program that is linked statically.

use std::ffi::{CStr, c_char, c_int};

/// Databases, and the services that the C library has without a module.
const SERVICES: [(&CStr, &CStr); 4] = [
    (c"group", c"files"),
    (c"hosts", c"files dns"),
    (c"passwd", c"files"),
    (c"services", c"files"),
];

/// Makes the C library look up users and groups in `/etc/passwd` and `/etc/group`, and hosts in `/etc/hosts` and by
/// DNS, whatever `/etc/nsswitch.conf` says.
///
/// For a program that is linked statically: glibc loads the modules of that file, and with them the C library of
/// the system, which is another one, into the program, and the program crashes.
pub fn use_built_in_name_service() {
    for (database, services) in SERVICES {
        configure(database, services);
    }
}

#[cfg(target_env = "gnu")]
fn configure(database: &CStr, services: &CStr) {
    #[expect(unsafe_code, reason = "libc does not declare it")]
    // SAFETY: glibc has it with these parameters since 2.2.5 (nss.h). Both texts are static.
    let status = unsafe {
        unsafe extern "C" {
            fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
        }
        __nss_configure_lookup(database.as_ptr(), services.as_ptr())
    };
    // It fails for lack of memory, or if it does not know the database.
    debug_assert_eq!(status, 0, "{database:?}");
}

#[cfg(not(target_env = "gnu"))]
fn configure(_database: &CStr, _services: &CStr) {}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use nix::unistd::{Group, User};

    use super::*;

    #[test]
    fn accounts_and_hosts_are_found_in_files() {
        use_built_in_name_service();
        let (group, user) = (Group::from_name("root"), User::from_name("root"));
        assert_eq!(group.unwrap().unwrap().gid.as_raw(), 0);
        assert!(user.unwrap().unwrap().uid.is_root());
        let mut addresses = ("localhost", 80).to_socket_addrs().unwrap();
        assert!(addresses.any(|address| address.ip().is_loopback()));
    }
}
