/app/dist/node -e 'console.log(process.version)'
