{{/* The configuration with its store filled in, and with the addresses that a pod needs where somebody took them out with null. */}}
{{- define "poller.config" -}}
{{- $config := deepCopy (default (dict) .Values.config) -}}
{{- if not $config.store -}}
{{- $_ := set $config "store" (dict "kind" "sqlite" "path" "/var/lib/poller/poller.db") -}}
{{- end -}}
{{- $_ := set $config "server" (merge (default (dict) $config.server) (dict "listen" "0.0.0.0:9464")) -}}
{{- $_ := set $config "admin" (merge (default (dict) $config.admin) (dict "socket" "/run/poller/poller.sock")) -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "poller.kind" -}}
{{- dig "store" "kind" "sqlite" (include "poller.config" . | fromYaml) -}}
{{- end -}}

{{- define "poller.replicas" -}}
{{- $usual := ternary 2 1 (eq (include "poller.kind" .) "postgres") -}}
{{- if kindIs "invalid" .Values.replicas }}{{ $usual }}{{ else }}{{ int .Values.replicas }}{{ end -}}
{{- end -}}

{{- define "poller.port" -}}
{{- regexFind "[0-9]+$" (include "poller.config" . | fromYaml).server.listen -}}
{{- end -}}

{{/* The port of the status page; empty where there is none. */}}
{{- define "poller.page" -}}
{{- with (include "poller.config" . | fromYaml).admin.listen }}{{ regexFind "[0-9]+$" . }}{{ end -}}
{{- end -}}

{{/* Its port where others than the pod itself reach it; empty where they do not. */}}
{{- define "poller.page.open" -}}
{{- with (include "poller.config" . | fromYaml).admin.listen }}{{ if regexMatch "^(0[.]0[.]0[.]0|\\[::\\]):" . }}{{ regexFind "[0-9]+$" . }}{{ end }}{{ end -}}
{{- end -}}

{{/* A duration of the configuration in whole seconds, rounded up. */}}
{{- define "poller.seconds" -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $each := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 "w" 604800.0 -}}
{{- mulf $number (get $each $unit) | ceil | int -}}
{{- end -}}

{{/* The program ends by itself after shutdown_grace and 5 seconds; what is left is for the container to go. */}}
{{- define "poller.grace" -}}
{{- $own := add 5 (include "poller.seconds" (default "30s" (include "poller.config" . | fromYaml).shutdown_grace) | int) -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add $own 15 -}}
{{- else -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (int $own) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but the program may take %d (config.shutdown_grace, and 5 seconds for closing): give it more" (int .Values.terminationGracePeriodSeconds) (int $own)) -}}
{{- end -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* Names of all environment variables that the configuration refers to, one a line. */}}
{{- define "poller.wanted" -}}
{{- if kindIs "map" . -}}
{{- if and (eq (len .) 1) (hasKey . "env") (kindIs "string" (get . "env")) -}}
{{ .env }}{{ "\n" }}
{{- else -}}
{{- range $_, $value := . }}{{ include "poller.wanted" $value }}{{ end -}}
{{- end -}}
{{- else if kindIs "slice" . -}}
{{- range . }}{{ include "poller.wanted" . }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Paths of all files that the configuration refers to, one a line. */}}
{{- define "poller.files" -}}
{{- if kindIs "map" . -}}
{{- if and (eq (len .) 1) (hasKey . "file") (kindIs "string" (get . "file")) -}}
{{ .file }}{{ "\n" }}
{{- else -}}
{{- range $_, $value := . }}{{ include "poller.files" $value }}{{ end -}}
{{- end -}}
{{- else if kindIs "slice" . -}}
{{- range . }}{{ include "poller.files" . }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* TCP ports that the configuration leads to, one a line, sorted. */}}
{{- define "poller.ports" -}}
{{- $config := include "poller.config" . | fromYaml -}}
{{- $ports := list 443 -}}
{{- if eq $config.store.kind "postgres" }}{{ $ports = append $ports 5432 }}{{ end -}}
{{- $urls := list -}}
{{- range $_, $source := $config.sources }}{{ $urls = append $urls $source.base_url }}{{ end -}}
{{- range $_, $sink := $config.sinks -}}
{{- if kindIs "string" $sink.url }}{{ $urls = append $urls $sink.url }}{{ end -}}
{{- range $sink.bootstrap_servers }}{{ $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default "9092" | int) }}{{ end -}}
{{- end -}}
{{- range $urls -}}
{{- $place := urlParse . -}}
{{- $named := regexFind ":[0-9]+$" $place.host | trimPrefix ":" -}}
{{- $ports = append $ports (default (ternary 80 443 (eq $place.scheme "http")) (int $named)) -}}
{{- end -}}
{{- range .Values.networkPolicy.extraPorts }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- range $ports }}{{ printf "%05d\n" (int .) }}{{ end -}}
{{- end -}}
