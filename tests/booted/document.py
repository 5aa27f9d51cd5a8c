"""The commands of docs/install.md, pasted one after the other into a root shell on a new system."""

import os
import re
import shutil
import subprocess

import support
from support import require

DOCUMENT = "docs/install.md"


def blocks():
    """Heading and commands of each `sh` block."""
    heading, found = "", []
    with open(DOCUMENT) as file:
        for part in re.finditer(r"^## ([^\n]*)$|^```sh\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL):
            if part[1]:
                heading = part[1]
            else:
                found.append((heading, part[2]))
    return found


class Shell:
    """An interactive session, except that a command that fails ends it."""

    def __init__(self, directory):
        self.process = subprocess.Popen(
            ["bash", "-e"], cwd=directory, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def paste(self, commands):
        require(self.process.poll() is None, "not run, because of the failure above")
        self.process.stdin.write(f"{commands}\necho '--- done'\n")
        self.process.stdin.flush()
        output = ""
        for line in self.process.stdout:
            if line == "--- done\n":
                return output
            output += line
        raise support.Failure(f"{commands}ended with status {self.process.wait()}:\n{output}")


directory = "/root/packages"
shell = None


def provide(which):
    """The package is the one in the directory."""
    os.makedirs(directory, exist_ok=True)
    for name in os.listdir(directory):
        os.remove(f"{directory}/{name}")
    shutil.copy(support.package(which), directory)


def paste(heading, commands, last):
    """Runs a block. Of each section, the output of the last block is examined."""
    global shell
    if shell is None:
        provide("old")
        shell = Shell(directory)
    if heading == "Upgrade":
        provide("new")
    before = support.attempt("dpkg-query", "--show", "--showformat", "${Version}", "ipvsd").stdout
    output = shell.paste(commands)
    after = support.attempt("dpkg-query", "--show", "--showformat", "${Version}", "ipvsd").stdout
    require("command not found" not in output, output)
    if commands.count("http://192.0.2.10/") == 2:
        require(sorted(output.split("\n")) == ["", "real server 1", "real server 2"], output)
        with open("/proc/net/ip_vs_conn") as file:
            require(len(file.readlines()) == 3, "the requests were not forwarded by IPVS")
    elif "http://192.0.2.10/" in commands:
        require("real server" in output, output)
    if heading == "Install":
        require(support.state() == "inactive", "the service was started")
    if heading == "Upgrade":
        require(before != after, f"{before} was upgraded to {after}")
    if heading == "Permit" and last:
        require('"name":"deploy"' in output, output)
    if heading in ("Start", "Permit", "A virtual service", "systemd", "Upgrade"):
        require(support.state() == "active", f"the service is {support.state()}")


def checks():
    found = blocks()
    for number, (heading, commands) in enumerate(found):
        last = number + 1 == len(found) or found[number + 1][0] != heading
        summary = commands.split("\n")[0]
        yield f"{heading}: {summary}", lambda arguments=(heading, commands, last): paste(*arguments)


def complete():
    headings = {heading for heading, _ in blocks()}
    wanted = {"Install", "Start", "Permit", "A virtual service", "systemd", "Upgrade", "Remove"}
    require(wanted <= headings, f"sections without commands: {wanted - headings}")


CHECKS = [("the document has commands in each section", complete), *checks()]
