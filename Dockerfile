# The bundled server as a static binary in an image without a shell, run by a user who is not root.
#
#   docker build -t khodnevis .
#   docker run -p 127.0.0.1:8000:8000 -v khodnevis:/data khodnevis
#
# By itself it keeps everything in one SQLite file in /data.
FROM --platform=$BUILDPLATFORM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags="-s -w" -o /out/khodnevis ./examples/server \
    && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/khodnevis /khodnevis
# A volume that is empty takes its owner from here.
COPY --from=build --chown=65532:65532 /out/data /data
ENV KHODNEVIS_ADDR=0.0.0.0:8000 KHODNEVIS_DATA=/data/khodnevis.db
WORKDIR /data
EXPOSE 8000
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["/khodnevis", "health"]
ENTRYPOINT ["/khodnevis"]
