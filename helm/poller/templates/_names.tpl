{{- define "poller.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Room is left for the longest thing that is hung on it. */}}
{{- define "poller.fullname" -}}
{{- $name := include "poller.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if contains $name .Release.Name }}{{ $full = .Release.Name }}{{ end -}}
{{- default $full .Values.fullnameOverride | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{- define "poller.selector" -}}
app.kubernetes.io/name: {{ include "poller.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The daemon's pods, and not those of the migration and the test. */}}
{{- define "poller.daemon" -}}
{{ include "poller.selector" . }}
app.kubernetes.io/component: daemon
{{- end -}}

{{/* All labels of an object: the chart's win, so that selectors keep finding their pods. Call with (list $ COMPONENT [more …]). */}}
{{- define "poller.labels" -}}
{{- $top := first . -}}
{{- $own := include "poller.selector" $top | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/component" (index . 1) -}}
{{- $_ := set $own "app.kubernetes.io/version" ($top.Chart.AppVersion | toString) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $top.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $top.Chart.Name $top.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- $all := dict -}}
{{- range slice . 2 }}{{ $all = merge $all (deepCopy .) }}{{ end -}}
{{- merge $own $all (deepCopy $top.Values.labels) | toYaml -}}
{{- end -}}

{{- define "poller.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "poller.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "poller.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{- end -}}
{{- end -}}
{{- end -}}
