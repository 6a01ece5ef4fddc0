#!/usr/bin/env bash
# Launches a job from a template that build.sh made:
#   templates/launch.sh gs://BUCKET/templates/build_dataset.json IMAGE JOB_NAME \
#       output=gs://BUCKET/set cells=gs://BUCKET/cells.csv 'osm=gs://BUCKET/osm/*.osm.pbf' years=2018,2020
# Parameters are NAME=VALUE, as the metadata beside this file lists them; values may hold commas.
# Environment: REGION and BUCKET must be set (BUCKET without gs://); MACHINE_TYPE, MAX_WORKERS, SERVICE_ACCOUNT,
# SUBNETWORK and PRIVATE_IPS=1 may be. With ECHO=1 the command is shown and not run.
set -euo pipefail

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[[ $# -ge 4 && $1 == gs://* && -n $2 && $3 != *=* && -n ${REGION:-} && -n ${BUCKET:-} ]] || usage
template=$1 image=$2 job=$3
shift 3

# gcloud splits --parameters at commas, which our values hold. What stands between two ^ separates them instead.
separator='~'
parameters="sdk_container_image=$image"
for parameter in "$@"; do
  [[ $parameter =~ ^[a-z_]+= ]] || { echo "error: parameters are NAME=VALUE. Received: $parameter" >&2; exit 2; }
  [[ $parameter != *"$separator"* ]] || { echo "error: a value must not hold $separator: $parameter" >&2; exit 2; }
  parameters+="$separator$parameter"
done

command=(gcloud dataflow flex-template run "$job" --template-file-gcs-location "$template" --region "$REGION"
  --temp-location "gs://$BUCKET/tmp" --staging-location "gs://$BUCKET/staging"
  --worker-machine-type "${MACHINE_TYPE:-n2-highmem-4}" --max-workers "${MAX_WORKERS:-10}"
  --parameters "^$separator^$parameters")
if [[ -n ${SERVICE_ACCOUNT:-} ]]; then command+=(--service-account-email "$SERVICE_ACCOUNT"); fi
if [[ -n ${SUBNETWORK:-} ]]; then command+=(--subnetwork "$SUBNETWORK"); fi
if [[ -n ${PRIVATE_IPS:-} ]]; then command+=(--disable-public-ips); fi

if [[ -n ${ECHO:-} ]]; then
  printf '%q ' "${command[@]}" && echo
else
  "${command[@]}"
fi
