#!/usr/bin/env bash
# Builds the image and the template of an entry, and puts the template where jobs are launched from:
#   templates/build.sh build_dataset europe-west1-docker.pkg.dev/PROJECT/REPOSITORY gs://BUCKET/templates
# Entries are named like the .json files beside this one. Needs gcloud, with Cloud Build enabled. Where BUILDER is set,
# e.g. docker or podman, it builds and pushes the image instead. BEAM_IMAGE and LAUNCHER_IMAGE name other base images.
set -euo pipefail

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
[[ $# -eq 3 && $1 =~ ^[a-z_]+$ && -f $root/templates/$1.json && $3 == gs://* ]] || usage
entry=$1 repository=${2%/} folder=${3%/}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/beam_pipeline/__init__.py")
image="$repository/opensentinelmap-${entry//_/-}:${TAG:-$version-$(date -u +%Y%m%d-%H%M%S)}"
template="$folder/$entry.json"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/templates"
cp -r "$root"/{setup.py,pyproject.toml,README.md,LICENSE,beam_pipeline,model_tf} "$context"
cp "$root"/templates/{Dockerfile,requirements-worker.txt,start.py} "$context/templates"
find "$context" -name __pycache__ -prune -exec rm -r {} +

arguments=(--build-arg "ENTRY=$entry")
for base in BEAM_IMAGE LAUNCHER_IMAGE; do
  if [[ -n ${!base:-} ]]; then arguments+=(--build-arg "$base=${!base}"); fi
done

if [[ -n ${BUILDER:-} ]]; then
  "$BUILDER" build "${arguments[@]}" --tag "$image" --file "$context/templates/Dockerfile" "$context"
  "$BUILDER" push "$image"
else
  steps="'build', '--tag', '$image', '--file', 'templates/Dockerfile'"
  for argument in "${arguments[@]}"; do steps+=", '$argument'"; done
  cat >"$context/cloudbuild.yaml" <<YAML
steps:
- name: gcr.io/cloud-builders/docker
  args: [$steps, '.']
images: ['$image']
timeout: 3600s
YAML
  gcloud builds submit "$context" --config "$context/cloudbuild.yaml"
fi

gcloud dataflow flex-template build "$template" --image "$image" --sdk-language PYTHON \
  --metadata-file "$root/templates/$entry.json"
echo "image:    $image"
echo "template: $template"
