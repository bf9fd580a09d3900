{{/* Variables: those of `env`, then those of the maps of references that follow; the later map wins. Call with (list $ MAP …). */}}
{{- define "poller.env" -}}
{{- $top := first . -}}
{{- $refs := dict -}}
{{- range rest . }}{{ $refs = mergeOverwrite $refs (deepCopy .) }}{{ end -}}
{{- $env := list -}}
{{- range $name, $value := $top.Values.env }}{{ $env = append $env (dict "name" $name "value" $value) }}{{ end -}}
{{- range $name, $ref := $refs }}{{ $env = append $env (dict "name" $name "valueFrom" (dict "secretKeyRef" $ref)) }}{{ end -}}
{{- with $env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $top.Values.secrets.envFrom }}
envFrom:
  {{- range . }}
  - secretRef:
      name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "poller.mounts" -}}
- name: config
  mountPath: /etc/poller
  readOnly: true
- name: run
  mountPath: /run/poller
- name: tmp
  mountPath: /tmp
{{- range $name, $_ := .Values.secrets.files }}
- name: secret-{{ $name }}
  mountPath: /run/secrets/poller/{{ $name }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Call with (list $ NAME-OF-CONFIGMAP). */}}
{{- define "poller.volumes" -}}
{{- $top := first . -}}
- name: config
  configMap:
    name: {{ index . 1 }}
- name: run
  emptyDir:
    sizeLimit: 16Mi
- name: tmp
  emptyDir:
    sizeLimit: 128Mi
{{- range $name, $secret := $top.Values.secrets.files }}
- name: secret-{{ $name }}
  secret:
    secretName: {{ $secret | quote }}
    defaultMode: 0440
{{- end }}
{{- with $top.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What the daemon's pods, the migration's and the test's have in common. */}}
{{- define "poller.where" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "poller.probe" -}}
{{- $more := last . -}}
httpGet:
  path: {{ first . }}
  port: metrics
{{ toYaml $more }}
{{- end -}}

{{- define "poller.pod" -}}
{{- $kind := include "poller.kind" . -}}
metadata:
  labels:
    {{- /* Without the chart's version: another chart with the same pods does not restart them. */}}
    {{- omit (include "poller.labels" (list . "daemon" .Values.podLabels) | fromYaml) "helm.sh/chart" | toYaml | nindent 4 }}
  annotations:
    checksum/config: {{ include "poller.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "poller.where" . | nindent 2 }}
  serviceAccountName: {{ include "poller.account" . }}
  terminationGracePeriodSeconds: {{ include "poller.grace" . }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if gt (include "poller.replicas" . | int) 1 }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{- toYaml . | nindent 6 }}
      {{- if not .labelSelector }}
      labelSelector:
        matchLabels:
          {{- include "poller.daemon" $ | nindent 10 }}
      {{- end }}
    {{- end }}
  {{- end }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: poller
      image: {{ include "poller.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, --config, /etc/poller/poller.yaml]
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      {{- with include "poller.env" (list . .Values.secrets.env) | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      ports:
        - name: metrics
          containerPort: {{ include "poller.port" . }}
          protocol: TCP
        {{- with include "poller.page.open" . }}
        - name: page
          containerPort: {{ . }}
          protocol: TCP
        {{- end }}
      startupProbe:
        {{- include "poller.probe" (list "/livez" .Values.probes.startup) | nindent 8 }}
      livenessProbe:
        {{- include "poller.probe" (list "/livez" .Values.probes.liveness) | nindent 8 }}
      readinessProbe:
        {{- include "poller.probe" (list "/readyz" .Values.probes.readiness) | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        {{- if eq $kind "sqlite" }}
        - name: store
          mountPath: /var/lib/poller
        {{- end }}
        {{- include "poller.mounts" . | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- if eq $kind "sqlite" }}
    {{- if not .Values.persistence.enabled }}
    - name: store
      emptyDir: {}
    {{- else if .Values.persistence.existingClaim }}
    - name: store
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim }}
    {{- end }}
    {{- end }}
    {{- include "poller.volumes" (list . (include "poller.fullname" .)) | nindent 4 }}
{{- end -}}
