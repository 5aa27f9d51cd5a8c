//! What the Makefile builds and installs.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

/// A copy of the Makefile in a directory whose name has a blank, with programs that only note their
/// arguments.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let name = format!("ipvsd make {}", std::process::id());
        let copy = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(copy.0.join("target dir/release")).unwrap();
        fs::copy(
            concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile"),
            copy.0.join("Makefile"),
        )
        .unwrap();
        copy.program("bin/cargo", "printf '%s\\n' \"$@\" >>arguments");
        copy.program("lab/toolchain", "");
        copy.program("target dir/release/ipvsd", "");
        copy.program("target dir/release/ipvsctl", "echo \"$@\"");
        copy
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn paths_may_have_blanks() {
    let copy = Copy::new();
    let path = std::env::var("PATH").unwrap();
    let made = Command::new("make")
        .arg("install")
        .arg(format!("DESTDIR={}/dest dir", copy.0.display()))
        .arg("PREFIX=/usr")
        .current_dir(&copy.0)
        .env("PATH", format!("{}/bin:{path}", copy.0.display()))
        .env("CARGO_TARGET_DIR", copy.0.join("target dir"))
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let script = format!("link-arg=-T{}/src/bin/ipvsctl.ld", copy.0.display());
    let arguments = copy.read("arguments");
    assert!(arguments.lines().any(|line| line == script), "{arguments}");
    assert_eq!(copy.read("dest dir/usr/share/man/man8/ipvsctl.8"), "man\n");
    for name in [
        "sbin/ipvsd",
        "bin/ipvsctl",
        "share/bash-completion/completions/ipvsctl",
        "share/zsh/site-functions/_ipvsctl",
        "share/fish/vendor_completions.d/ipvsctl.fish",
    ] {
        let file = copy.0.join("dest dir/usr").join(name);
        assert!(file.is_file(), "{name}");
    }
}

#[test]
fn ipvsctl_is_linked_again_when_its_linker_script_changes() {
    let program = Path::new(env!("CARGO_BIN_EXE_ipvsctl"));
    let inode = fs::metadata(program).unwrap().ino();
    // Cargo reads the dependencies beside the file of which the program is a hard link.
    let files = fs::read_dir(program.parent().unwrap().join("deps")).unwrap();
    let mut linked = files.map(|file| file.unwrap().path());
    let linked = linked.find(|file| fs::metadata(file).is_ok_and(|found| found.ino() == inode));
    let dependencies = fs::read_to_string(linked.unwrap().with_extension("d")).unwrap();
    assert!(
        dependencies.contains("src/bin/ipvsctl.ld"),
        "{dependencies}"
    );
}
