//! What the Makefile builds and installs.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What the Makefile needs, in a directory whose name has a blank, with a compiler that only notes its arguments, and
/// programs that print theirs.
struct Copy(PathBuf);

impl Copy {
    fn new(test: &str) -> Self {
        let name = format!("ipvsd make {test} {}", std::process::id());
        let copy = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(copy.0.join("target dir/static")).unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in [
            "CHANGELOG.md",
            "Cargo.toml",
            "LICENSE",
            "Makefile",
            "deploy",
            "lab",
        ] {
            let copied = Command::new("cp")
                .arg("-R")
                .arg(sources.join(name))
                .arg(&copy.0)
                .status();
            assert!(copied.unwrap().success(), "{name}");
        }
        copy.program("bin/cargo", "printf '%s\\n' \"$@\" >>arguments");
        copy.program("lab/toolchain", "");
        copy.program("lab/licences", "echo the licences");
        for program in ["ipvsd", "ipvsctl"] {
            copy.program(&format!("target dir/release/{program}"), "echo \"$@\"");
        }
        copy
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        Command::new(program)
            .args(arguments)
            .current_dir(&self.0)
            .env("PATH", format!("{}/bin:{path}", self.0.display()))
            .env("CARGO_TARGET_DIR", self.0.join("target dir"))
            .env("SOURCE_DATE_EPOCH", "1796011200")
            .env_remove("SOURCE_COMMIT")
            .env_remove("MAKEFLAGS")
            .output()
            .unwrap()
    }

    /// What a command prints, which must succeed.
    fn output(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn has(&self, directory: &str, names: &[&str]) {
        for name in names {
            let file = self.0.join(directory).join(name);
            assert!(file.is_file(), "{name}");
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn paths_may_have_blanks() {
    let copy = Copy::new("install");
    let destination = format!("DESTDIR={}/dest dir", copy.0.display());
    copy.output("make", &["install", &destination, "PREFIX=/usr"]);
    let script = format!("link-arg=-T{}/src/bin/ipvsctl.ld", copy.0.display());
    let arguments = copy.read("arguments");
    assert!(arguments.lines().any(|line| line == script), "{arguments}");
    assert_eq!(copy.read("dest dir/usr/share/man/man8/ipvsctl.8"), "man\n");
    let licences = copy.read("dest dir/usr/share/doc/ipvsd/THIRD-PARTY-LICENSES");
    assert_eq!(licences, "the licences\n");
    copy.has(
        "dest dir/usr",
        &[
            "sbin/ipvsd",
            "bin/ipvsctl",
            "share/bash-completion/completions/ipvsctl",
            "share/zsh/vendor-completions/_ipvsctl",
            "share/fish/vendor_completions.d/ipvsctl.fish",
        ],
    );
}

#[test]
fn static_programs_are_built_apart() {
    let copy = Copy::new("static");
    copy.output("make", &["build-static"]);
    let arguments = copy.read("arguments");
    let calls: Vec<_> = arguments.split("rustc\n").skip(1).collect();
    assert_eq!(calls.len(), 2, "{arguments}");
    for (call, program) in calls.iter().zip(["ipvsctl", "ipvsd"]) {
        assert!(call.contains(&format!("--bin\n{program}\n")), "{call}");
        assert!(call.contains("target-feature=+crt-static\n"), "{call}");
        // Only ipvsctl is at fixed addresses.
        assert_eq!(
            call.contains("relocation-model"),
            program == "ipvsctl",
            "{call}"
        );
    }
    copy.has(
        "target dir/static",
        &["ipvsd", "ipvsctl", "THIRD-PARTY-LICENSES"],
    );
    assert!(!copy.0.join("target dir/release/ipvsd").exists());
}

#[test]
fn a_release_has_no_path_of_the_machine() {
    let copy = Copy::new("paths");
    copy.output("make", &["build"]);
    let home = std::env::var("HOME").unwrap();
    for path in [
        format!("{}/src/lib.rs", copy.0.display()),
        format!("{home}/.rustup/toolchains/x"),
    ] {
        copy.program("target dir/release/ipvsd", &format!("# {path}"));
        let built = copy.run("make", &["build"]);
        let error = String::from_utf8_lossy(&built.stderr);
        assert!(
            !built.status.success() && error.contains("a path of this machine"),
            "{error}"
        );
    }
}

#[test]
fn the_tarball_installs_and_depends_on_its_content_only() {
    let copy = Copy::new("tarball");
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("ipvsd-{version}-x86_64-linux");
    copy.output("make", &["build-static"]);
    for (dist, mask) in [("dist", "022"), ("again", "077")] {
        let command = format!("umask {mask}; lab/tarball 'target dir/static' {dist}");
        copy.output("sh", &["-c", &command]);
        copy.output("touch", &["target dir/static/ipvsd", "LICENSE"]);
    }
    let sums = copy.read("dist/SHA256SUMS");
    assert!(
        sums.trim_end().ends_with(&format!("  {name}.tar.gz")),
        "{sums}"
    );
    assert_eq!(copy.read("again/SHA256SUMS"), sums);
    let tarball = format!("dist/{name}.tar.gz");
    let list = copy.output(
        "tar",
        &[
            "--list",
            "--verbose",
            "--utc",
            "--full-time",
            "--numeric-owner",
            "--file",
            &tarball,
        ],
    );
    for line in list.lines() {
        let expected = line.contains(" 0/0 ") && line.contains(" 2026-11-30 04:00:00 ");
        assert!(expected && line.contains(&format!(" {name}/")), "{line}");
        assert!(
            line.starts_with("-rwxr-xr-x")
                || line.starts_with("-rw-r--r--")
                || line.starts_with("drwxr-xr-x"),
            "{line}"
        );
    }
    let mut names: Vec<_> = list
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    let listed = names.clone();
    names.sort_unstable();
    assert_eq!(listed, names);

    copy.output("tar", &["--extract", "--file", &tarball]);
    let installer = format!("{name}/deploy/install");
    let destination = copy.0.join("installed").display().to_string();
    copy.output(
        &copy.0.join(&installer).display().to_string(),
        &[".", &destination, "/usr/local"],
    );
    copy.has(
        "installed",
        &[
            "usr/local/sbin/ipvsd",
            "usr/local/bin/ipvsctl",
            "usr/local/share/man/man8/ipvsctl.8",
            "usr/local/lib/systemd/system/ipvsd.service",
            "usr/local/share/doc/ipvsd/LICENSE",
            "usr/local/share/doc/ipvsd/THIRD-PARTY-LICENSES",
            "etc/ipvsd/ipvsd.toml",
            "etc/ipvsd/policy.toml",
        ],
    );
}

#[test]
fn the_licences_name_all_packages_of_the_programs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = |program: PathBuf, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(root)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let licences = output(root.join("lab/licences"), &[]);
    let packages = output(
        "cargo".into(),
        &[
            "tree",
            "--locked",
            "--edges=normal",
            "--prefix=none",
            "--format={p}",
        ],
    );
    let mut count = 0;
    for line in packages.lines().filter(|line| !line.starts_with("ipvsd ")) {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let package = format!("{name} {}", version.trim_start_matches('v'));
        // In the list at the beginning, and above a text.
        assert!(licences.contains(&format!("\n  {package}: ")), "{package}");
        assert!(licences.contains(&format!("\n{package}\n")), "{package}");
        count += 1;
    }
    assert!(count > 100, "{packages}");
    for other in [
        "preact ",
        "uplot ",
        "@preact/signals ",
        "swagger-ui ",
        "std ",
        "GNU C Library",
    ] {
        assert!(licences.contains(&format!("\n{other}")), "{other}");
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
