{{- define "ipvsd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "ipvsd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "ipvsd.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "ipvsd.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ipvsd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ipvsd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ipvsd.labels" -}}
{{ include "ipvsd.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ipvsd.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "ipvsd.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "ipvsd.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "ipvsd.policySecret" -}}
{{- if .Values.policy.text }}{{ include "ipvsd.fullname" . }}-policy{{ else }}{{ .Values.policy.secret }}{{ end }}
{{- end }}

{{- /* ipvsd.toml. A JSON value other than an object is a TOML value, too: numbers without a fraction are integers. */ -}}
{{- define "ipvsd.toml" -}}
{{- $config := deepCopy .Values.config }}
{{- $listen := list "unix:/run/ipvsd/ipvsd.sock" (printf "127.0.0.1:%d" (int .Values.ports.local)) }}
{{- if .Values.tls.secret }}
{{- $listen = append $listen (printf "tls:%s:%d" .Values.tls.address (int .Values.ports.tls)) }}
{{- $tls := dict "certificate" "/etc/ipvsd/tls/tls.crt" "key" "/etc/ipvsd/tls/tls.key"
    "client_certificates" .Values.tls.clientCertificates }}
{{- if .Values.tls.clientCA.secret }}
{{- $_ := set $tls "client_ca" (printf "/etc/ipvsd/client-ca/%s" .Values.tls.clientCA.key) }}
{{- end }}
{{- $_ := set $config "tls" (merge $tls (default dict $config.tls)) }}
{{- if .Values.service.enabled }}
{{- $name := printf "%s.%s.svc" (include "ipvsd.fullname" .) .Release.Namespace }}
{{- $hosts := concat (default list $config.allowed_hosts) (list $name (printf "%s.%s" $name .Values.service.clusterDomain)) }}
{{- $_ := set $config "allowed_hosts" $hosts }}
{{- end }}
{{- end }}
{{- $_ := set $config "listen" $listen }}
{{- if include "ipvsd.policySecret" . }}
{{- $_ := set $config "policy" (printf "/etc/ipvsd/policy/%s" .Values.policy.key) }}
{{- end }}
{{- $_ := set $config "state_dir" (ternary "memory" "/var/lib/ipvsd" (eq .Values.state.type "memory")) }}
{{- range $key, $value := $config }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- range $table, $keys := $config }}
{{- if kindIs "map" $keys }}

[{{ $table }}]
{{- range $key, $value := $keys }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Combinations of values that the schema cannot refuse. */ -}}
{{- define "ipvsd.check" -}}
{{- range $key, $value := dict "listen" "ports and tls" "policy" "policy" "state_dir" "state" }}
{{- if hasKey $.Values.config $key }}{{ fail (printf "config.%s: use the value %s instead" $key $value) }}{{ end }}
{{- end }}
{{- range $key, $value := dict "certificate" "tls.secret" "key" "tls.secret" "client_ca" "tls.clientCA"
    "client_certificates" "tls.clientCertificates" }}
{{- if hasKey (default dict $.Values.config.tls) $key }}{{ fail (printf "config.tls.%s: use the value %s instead" $key $value) }}{{ end }}
{{- end }}
{{- range list "netns" "dev" "insecure" }}
{{- if hasKey $.Values.config . }}{{ fail (printf "config.%s: not possible in the network of a node" .) }}{{ end }}
{{- end }}
{{- with .Values }}
{{- if and (ne .tls.clientCertificates "none") (not .tls.clientCA.secret) }}
{{- fail "tls.clientCA.secret: required with tls.clientCertificates optional and required" }}
{{- end }}
{{- if and .tls.clientCA.secret (eq .tls.clientCertificates "none") }}
{{- fail "tls.clientCertificates: none, but tls.clientCA.secret is set: set it to optional or required" }}
{{- end }}
{{- if and .policy.secret .policy.text }}
{{- fail "policy.text: not together with policy.secret: remove one of them" }}
{{- end }}
{{- if and (or .podMonitor.enabled .networkPolicy.enabled (ne .tls.clientCertificates "none")) (not .tls.secret) }}
{{- fail "tls.secret: required by podMonitor, networkPolicy and tls.clientCertificates: without it, no port is open beyond the node" }}
{{- end }}
{{- if and .loadModule.enabled (not .loadModule.image) }}
{{- fail "loadModule.image: required with loadModule.enabled: an image with modprobe" }}
{{- end }}
{{- if eq (int .ports.tls) (int .ports.local) }}
{{- fail "ports.local: must differ from ports.tls" }}
{{- end }}
{{- end }}
{{- end }}
