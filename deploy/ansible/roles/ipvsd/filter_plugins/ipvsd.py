"""Compares the settings that `ipvsd --check-config` prints."""

import tomllib

# docs/ipvsd.md has this list. All keys of the tables tls and quota are among them.
RELOADED = {
    "allowed_hosts", "log.filter", "limits.max_concurrent_streams", "limits.max_header_bytes", "limits.max_body_bytes",
    "limits.header_read_timeout", "limits.body_read_timeout", "limits.idle_timeout", "limits.write_timeout",
    "limits.request_timeout", "limits.shutdown_grace", "metrics.max_age", "metrics.max_servers",
    "metrics.node_exporter_names",
}


def _settings(text):
    settings = {}
    for key, value in tomllib.loads(text).items():
        if isinstance(value, dict):
            settings.update({f"{key}.{name}": item for name, item in value.items()})
        else:
            settings[key] = value
    return settings


def ipvsd_restart_keys(before, after):
    """The settings that differ and that a reload does not apply; all of them if one of the texts is empty."""
    before, after = _settings(before), _settings(after)
    return sorted(
        key for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
        and key not in RELOADED and key.partition(".")[0] not in ("tls", "quota")
    )


class FilterModule:
    def filters(self):
        return {"ipvsd_restart_keys": ipvsd_restart_keys}
