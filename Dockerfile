# Holdfast in a container: docs/operations.md, "In a container".
#   docker build --tag holdfast .
#   docker build --tag holdfast --build-arg PREVIEWS=1 .     with LibreOffice and ffmpeg
ARG NODE=26.10.0-bookworm-slim

FROM node:${NODE} AS libraries
WORKDIR /opt/holdfast
COPY package.json package-lock.json .npmrc ./
COPY packages/seal/package.json packages/seal/
COPY packages/server/package.json packages/server/
# Node is in the image: the root's own dependency on it would bring a second one.
RUN npm ci --omit=dev --ignore-scripts --workspace=packages/seal --workspace=packages/server

FROM node:${NODE}
ARG PREVIEWS=0
# tini collects what renderers of previews leave behind, which a server as process 1 would not.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends tini \
 && if [ "$PREVIEWS" = 1 ]; then DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      ffmpeg fonts-dejavu-core libreoffice-calc-nogui libreoffice-impress-nogui libreoffice-writer-nogui; fi \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/holdfast
COPY --from=libraries /opt/holdfast/ ./
COPY LICENSE ./
COPY packages/seal/src packages/seal/src
COPY packages/server/src packages/server/src
# The key has a volume of its own: a copied data folder must not carry it.
RUN ln -s /opt/holdfast/packages/server/src/cli/main.ts /usr/local/bin/holdfast \
 && install --directory --owner=node --group=node --mode=0700 /var/lib/holdfast /var/lib/holdfast-key node_modules/.cache
USER node
VOLUME ["/var/lib/holdfast", "/var/lib/holdfast-key"]
# The last three keep glibc from giving pages back and asking for them again while files pass through.
ENV NODE_ENV=production \
    HOLDFAST_HOST=0.0.0.0 \
    HOLDFAST_DATA=/var/lib/holdfast/data \
    HOLDFAST_ROOT_KEY_FILE=/var/lib/holdfast-key/root.key \
    NODE_COMPILE_CACHE=/opt/holdfast/node_modules/.cache/compile \
    MALLOC_TRIM_THRESHOLD_=268435456 \
    MALLOC_MMAP_THRESHOLD_=33554432 \
    MALLOC_TOP_PAD_=16777216
# Starts once, so that its compiled code is in the image.
RUN HOLDFAST_DATA=/tmp/data HOLDFAST_ROOT_KEY_FILE=/tmp/root.key timeout --preserve-status 20 \
      node --max-semi-space-size=4 packages/server/src/main.ts \
 && rm -r /tmp/data /tmp/root.key
EXPOSE 8420
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --start-interval=2s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HOLDFAST_PORT || 8420}/health/ready`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--"]
CMD ["node", "--max-semi-space-size=4", "packages/server/src/main.ts"]
