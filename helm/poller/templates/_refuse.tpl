{{/* What the schema cannot say, each with a sentence. Prints nothing. tests/ready.yaml asks first: Helm begins with the deepest path. */}}
{{- define "poller.refuse" -}}
{{- include "poller.refuse.nothing" . -}}
{{- include "poller.refuse.store" . -}}
{{- include "poller.refuse.addresses" . -}}
{{- include "poller.refuse.names" . -}}
{{- include "poller.refuse.secrets" . -}}
{{- end -}}

{{/* `key: null` takes a default away, and Helm no longer checks what is not there. */}}
{{- define "poller.refuse.nothing" -}}
{{- $gone := list -}}
{{- range $path := list "image" "image.repository" "image.pullPolicy" "labels" "secrets" "secrets.env" "persistence" "persistence.size" "persistence.accessModes" "migration" "migration.mode" "migration.env" "migration.deadline" "migration.serviceAccountName" "serviceAccount" "probes" "probes.startup" "probes.liveness" "probes.readiness" "podDisruptionBudget" "podDisruptionBudget.maxUnavailable" "networkPolicy" "page" "page.service" "page.service.port" "page.ingress" "podMonitor" "serviceMonitor" "prometheusRule" "dashboards" "podLabels" -}}
{{- $here := $.Values -}}
{{- range $key := splitList "." $path -}}
{{- if kindIs "map" $here }}{{ $here = index $here $key }}{{ end -}}
{{- end -}}
{{- if kindIs "invalid" $here }}{{ $gone = append $gone $path }}{{ end -}}
{{- end -}}
{{- with $gone -}}
{{- fail (printf "null stands where the chart needs a value: leave out %s, to have the default" (join ", " .)) -}}
{{- end -}}
{{- end -}}

{{- define "poller.refuse.store" -}}
{{- $store := (include "poller.config" . | fromYaml).store -}}
{{- $replicas := include "poller.replicas" . | int -}}
{{- if and (gt $replicas 1) (ne $store.kind "postgres") -}}
{{- fail (printf "replicas is %d, but a store of kind %s belongs to one pod: set config.store to {kind: postgres, dsn: {env: POLLER_DSN}}, or replicas to 1" $replicas $store.kind) -}}
{{- end -}}
{{- if and (eq $store.kind "sqlite") (not (hasPrefix "/var/lib/poller/" (clean $store.path))) -}}
{{- fail (printf "config.store.path is %s, which is not on the volume: put it below /var/lib/poller/" $store.path) -}}
{{- end -}}
{{- if and (eq .Values.migration.mode "hook") (ne $store.kind "postgres") -}}
{{- fail "migration.mode is hook, but only a PostgreSQL store can be brought up to date from outside: set it to start" -}}
{{- end -}}
{{- end -}}

{{- define "poller.refuse.addresses" -}}
{{- $config := include "poller.config" . | fromYaml -}}
{{- $port := ":([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$" -}}
{{- if not (regexMatch (printf "^(0[.]0[.]0[.]0|\\[::\\])%s" $port) $config.server.listen) -}}
{{- fail (printf "config.server.listen is %s, but probes and Prometheus come from outside the pod: write 0.0.0.0:9464, or [::]:9464 where pods have IPv6 only" $config.server.listen) -}}
{{- end -}}
{{- with $config.admin.listen -}}
{{- if not (regexMatch (printf "^(0[.]0[.]0[.]0|127[.]0[.]0[.]1|localhost|\\[::\\]|\\[::1\\])%s" $port) .) -}}
{{- fail (printf "config.admin.listen is %s: write 127.0.0.1:9465, which kubectl port-forward reaches, or 0.0.0.0:9465 for page.service" .) -}}
{{- end -}}
{{- if eq (include "poller.page" $) (include "poller.port" $) -}}
{{- fail (printf "config.admin.listen and config.server.listen both use port %s: give the status page another one" (include "poller.page" $)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.page -}}
{{- if and .service.enabled (not (include "poller.page.open" $)) -}}
{{- fail (printf "page.service.enabled is true, but config.admin.listen is %s: set it to 0.0.0.0:9465, and config.admin.token to {env: POLLER_ADMIN_TOKEN}" (default "not set" $config.admin.listen)) -}}
{{- end -}}
{{- if and .ingress.enabled (not .service.enabled) -}}
{{- fail "page.ingress.enabled is true, but page.service.enabled is not: an Ingress leads to a Service" -}}
{{- end -}}
{{- if and .ingress.enabled (not .ingress.host) -}}
{{- fail "page.ingress.enabled is true, but page.ingress.host is empty: name the host that the page is for" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "poller.refuse.names" -}}
{{- range .Values.extraVolumes -}}
{{- if or (has .name (list "config" "run" "tmp" "store")) (hasPrefix "secret-" (toString .name)) -}}
{{- fail (printf "extraVolumes has a volume %s, and so has the chart: give it another name" .name) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraVolumeMounts -}}
{{- if has (clean (toString .mountPath)) (list "/etc/poller" "/run/poller" "/tmp" "/var/lib/poller") -}}
{{- fail (printf "extraVolumeMounts has %s, where the chart mounts something of its own: choose another folder" .mountPath) -}}
{{- end -}}
{{- end -}}
{{- range concat .Values.initContainers .Values.extraContainers -}}
{{- if eq (toString .name) "poller" -}}
{{- fail "a container of initContainers or extraContainers is named poller, and so is the chart's: give it another name" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "poller.refuse.secrets" -}}
{{- $config := include "poller.config" . | fromYaml -}}
{{- range $name, $_ := .Values.env -}}
{{- if hasKey $.Values.secrets.env $name }}{{ fail (printf "%s stands in env and in secrets.env: keep one" $name) }}{{ end -}}
{{- end -}}
{{- if not .Values.secrets.envFrom -}}
{{- range $name := splitList "\n" (include "poller.wanted" $config) | uniq | compact -}}
{{- if not (or (hasKey $.Values.secrets.env $name) (hasKey (default (dict) $.Values.env) $name)) -}}
{{- fail (printf "config refers to {env: %s}, which nothing sets: add it to secrets.env (%s: {name: SECRET, key: KEY}), or its Secret to secrets.envFrom" $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $path := splitList "\n" (include "poller.files" $config) | uniq | compact -}}
{{- $folder := regexFind "^/run/secrets/poller/[^/]+/" $path | trimPrefix "/run/secrets/poller/" | trimSuffix "/" -}}
{{- if and (hasPrefix "/run/secrets/poller/" $path) (not (hasKey (default (dict) $.Values.secrets.files) $folder)) -}}
{{- fail (printf "config refers to {file: %s}, which nothing mounts: add its Secret to secrets.files (NAME: SECRET is read as /run/secrets/poller/NAME/KEY)" $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
